"""What users do, and the updates that follow from it."""
