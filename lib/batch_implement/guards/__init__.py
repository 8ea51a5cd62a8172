"""Guards: whether what the model is about to run touches the state or gives a verb that is a person's."""
