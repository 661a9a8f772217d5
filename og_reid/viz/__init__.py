"""Pictures, figures and the HTML report."""
