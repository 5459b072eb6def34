"""Where a score comes from: Grad-CAM of every branch on the images' own grids, and how much of it lies on known tubers."""
