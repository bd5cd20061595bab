"""`python -m shield` is the command `shield`."""

import sys

from shield.cli.main import main

sys.exit(main())
