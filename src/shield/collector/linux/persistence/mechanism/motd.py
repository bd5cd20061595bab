"""Scripts that write the message of the day; pam_motd(8) runs them as root at every login."""

from shield.collector.linux.persistence.place import places, program

PLACES = places("motd_script", program("login"), "/etc/update-motd.d/*", "/usr/lib/update-motd.d/*")
