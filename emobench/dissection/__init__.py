"""What each unit of a network is described by, and what that description is worth."""
