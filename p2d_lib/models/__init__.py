"""Things with weights: how they are built, fitted, saved and asked. They import the ground floor only."""
