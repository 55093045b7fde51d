"""What ``import emobench`` offers: the stages' own work on what is in memory, without files and params.yaml."""
