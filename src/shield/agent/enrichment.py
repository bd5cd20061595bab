"""Provenance in the records of process starts, between the collector and the normalizer.

Where it isn't known yet the start goes out without it, and says so in `gaps`; once it is known, `findings` gives the
same event with it, to be judged again. Only what a rule could care about comes so: a program that is unchanged from its
package was fit to be judged without.
"""

from collections import OrderedDict
from typing import TYPE_CHECKING, Protocol

import msgspec

from shield.event import Event, Ledger, Process, Provenance
from shield.record import ProcessExec, Record

if TYPE_CHECKING:  # there is none on Windows
    from shield.collector.linux.provenance import Learnt, Ticket
