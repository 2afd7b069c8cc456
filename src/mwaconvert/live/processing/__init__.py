"""What becomes of candidates beside triggers: data cut out, judged, drawn, summed up; functions of files."""
