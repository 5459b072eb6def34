"""What the bundle's configurations name, and the commands for whole cohorts (`python -m scripts`)."""
