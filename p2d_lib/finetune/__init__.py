"""Room 03: words and images of the train split -> what is fitted on them."""
