"""The report and the model card, made from the same facts."""
