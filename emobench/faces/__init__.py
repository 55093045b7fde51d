"""Where images come from: readers, the synthetic faces, the audit, and the image set that all stages share."""
