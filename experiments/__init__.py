"""Scripts that reproduce the papers and measure the library against its peers."""
