"""What repeats: periodicity searches of dedispersed series, and folding."""
