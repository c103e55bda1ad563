"""Published layouts: what the files of a source look like."""
