"""The dashboards as data: what they ask, and pictures of what they show."""
