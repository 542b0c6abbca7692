"""The runs of a results root: read at once, selected, claimed by a launch, summed up."""
