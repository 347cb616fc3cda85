"""Speed, measured as ratios within one run: machines differ, and one machine differs from hour to hour."""
