"""A page that tells what was done: values that a report shows, drawn as SVG, put together as one HTML file."""
