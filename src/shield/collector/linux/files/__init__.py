"""Changes of files in sensitive places: fanotify, inotify as the fallback, and what both share."""
