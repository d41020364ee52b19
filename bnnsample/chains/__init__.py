"""From a posterior and a kernel to draws: start, warm-up, sampling, progress."""
