"""Made-up records of a busy Windows host that does ordinary things: the same seed gives the same records.

The kinds and their shares are those of a host with Sysmon, an audit policy and script block logging. Process ids,
GUIDs, times, ports, addresses, file names and most arguments differ from record to record; programs with their hashes,
users and services come from a stock, as on a real host. With `distinct` no path and no command line comes twice: what
remembers values gains nothing. Now and then a recorded record stands among them, so that rules have what to find.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from random import Random
from typing import Any

import msgspec
from msgspec import Struct

from shield.event import LogValue
from shield.record import LogRecord

Fields = dict[str, LogValue]

SYSMON = "Microsoft-Windows-Sysmon/Operational"
SECURITY = "Security"
POWERSHELL = "Microsoft-Windows-PowerShell/Operational"
SYSTEM = "System"
_PROVIDERS = {
    SYSMON: "Microsoft-Windows-Sysmon",
    SECURITY: "Microsoft-Windows-Security-Auditing",
    POWERSHELL: "Microsoft-Windows-PowerShell",
    SYSTEM: "Service Control Manager",
}
_START_NS = 1_790_000_000_000_000_000
_STEP_NS = 4_000_000
_WATCHED: frozenset[str] = frozenset(
    ("CommandLine", "ParentCommandLine", "Image", "ParentImage", "TargetFilename", "TargetObject", "ImageLoaded")
)
_RECORDED_SHARE = 0.01
_DOMAIN, _HOST = "CORP", "WS-0417.corp.example"
_LETTERS = "abcdefghijklmnopqrstuvwxyz"

_USERS = tuple(
    f"{first}.{last}"
    for first in ("anna", "ben", "carla", "david", "emre", "fatima", "georg", "hana")
    for last in ("berg", "costa", "dupont", "eklund", "fischer")
)
_SERVICES = ("Schedule", "Winmgmt", "gpsvc", "wuauserv", "BITS", "Dnscache", "LanmanServer", "Themes", "UserManager")
_WORDS = ("report", "invoice", "budget", "minutes", "draft", "photo", "backup", "export", "plan", "notes", "archive")
_EXTENSIONS = ("docx", "xlsx", "pdf", "tmp", "log", "json", "png", "db-journal", "txt", "etl", "cache", "ini")
_DOMAINS = (
    "example.com",
    "cdn.example.net",
    "corp.example",
    "update.example.org",
    "mail.example.com",
    "api.example.io",
)
_LIBRARIES = ("kernel32", "ntdll", "user32", "combase", "rpcrt4", "crypt32", "ws2_32", "gdi32", "msvcrt", "sechost")
_KEYS = (
    r"HKLM\System\CurrentControlSet\Services\{service}\Parameters\{word}{n}",
    r"HKU\{sid}\Software\Microsoft\Office\16.0\Common\Roaming\{hex}",
    r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing\Packages\{hex}",
    r"HKU\{sid}\Software\Microsoft\Windows\CurrentVersion\Explorer\RecentDocs\.{ext}\{n}",
    r"HKLM\System\CurrentControlSet\Enum\USB\VID_{hex4}&PID_{hex4}\{hex}\Properties",
)
_FILES = (
    r"C:\Users\{user}\AppData\Local\Temp\{hex}.{ext}",
    r"C:\Users\{user}\Documents\{word} {n}.{ext}",
    r"C:\Windows\Prefetch\{WORD}.EXE-{hex}.pf",
    r"C:\ProgramData\Microsoft\Windows\WER\Temp\WER{hex4}.tmp.{ext}",
    r"C:\Users\{user}\AppData\Local\Microsoft\Edge\User Data\Default\Cache\Cache_Data\f_{hex}",
    r"C:\Program Files\Common Files\{word}\{word}{n}.{ext}",
)
_SCRIPTS = (
    "function Get-{Word}{n} {{ param([string]$Path) Get-ChildItem -Path $Path -Filter *.{ext} | Sort-Object Length }}",
    "Get-Process | Where-Object {{ $_.Id -eq {n} }} | Select-Object Name, Id, CPU",
    "$items = Import-Csv 'C:\\Data\\{word}{n}.csv'; foreach ($item in $items) {{ Write-Output $item.Name }}",
    "Test-Path -Path 'C:\\Users\\{user}\\Documents\\{word}{n}.{ext}'",
)


class Program(Struct, frozen=True):
    """An executable of the stock, and a command line that it is started with."""

    image: str
    command: str
    description: str = ""
    company: str = "Microsoft Corporation"


_SYSTEM_32 = "C:\\Windows\\System32"
_COMMON = (
    Program(
        rf"{_SYSTEM_32}\svchost.exe", r"C:\Windows\system32\svchost.exe -k netsvcs -p -s {service}", "Host Process"
    ),
    Program(rf"{_SYSTEM_32}\conhost.exe", r"\??\C:\Windows\system32\conhost.exe 0xffffffff -ForceV1", "Console Host"),
    Program(rf"{_SYSTEM_32}\RuntimeBroker.exe", r"C:\Windows\System32\RuntimeBroker.exe -Embedding", "Runtime Broker"),
    Program(rf"{_SYSTEM_32}\dllhost.exe", r"C:\Windows\system32\DllHost.exe /Processid:{{{guid}}}", "COM Surrogate"),
    Program(rf"{_SYSTEM_32}\taskhostw.exe", "taskhostw.exe {{{guid}}}", "Host Process for Windows Tasks"),
    Program(
        rf"{_SYSTEM_32}\backgroundTaskHost.exe",
        r'"C:\Windows\system32\backgroundTaskHost.exe" -ServerName:App.AppX{hex}{hex}.mca',
        "Background Task Host",
    ),
    Program(
        rf"{_SYSTEM_32}\wbem\WmiPrvSE.exe", r"C:\Windows\system32\wbem\wmiprvse.exe -Embedding", "WMI Provider Host"
    ),
    Program(
        rf"{_SYSTEM_32}\SearchProtocolHost.exe",
        r'"C:\Windows\system32\SearchProtocolHost.exe" Global\UsGthrFltPipeMssGthrPipe{n}_ Global\UsGthr{n} 1',
        "Windows Search Protocol Host",
    ),
    Program(
        r"C:\Program Files\Google\Chrome\Application\chrome.exe",
        r'"C:\Program Files\Google\Chrome\Application\chrome.exe" --type=renderer --renderer-client-id={n} '
        r"--field-trial-handle={n},i,{n},{n},262144 --lang=en-US --mojo-platform-channel-handle={n} /prefetch:1",
        "Google Chrome",
        "Google LLC",
    ),
    Program(
        r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
        r'"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe" --type=utility --utility-sub-type=network'
        r".mojom.NetworkService --field-trial-handle={n},i,{n},{n} --mojo-platform-channel-handle={n} /prefetch:3",
        "Microsoft Edge",
    ),
    Program(
        r"C:\Program Files\Git\cmd\git.exe",
        r'git.exe -c core.quotepath=false log --format="%H %h" -n {n} -- src/{word}/{word}{n}.py',
        "Git for Windows",
        "The Git Development Community",
    ),
    Program(
        r"C:\Program Files\nodejs\node.exe",
        r'"C:\Program Files\nodejs\node.exe" C:\src\{word}\build\{word}.js --port {port} --id {hex}',
        "Node.js",
        "Node.js",
    ),
    Program(rf"{_SYSTEM_32}\cmd.exe", r'C:\Windows\system32\cmd.exe /c "C:\Tools\{word}.bat {n}"', "Command Processor"),
    Program(
        rf"{_SYSTEM_32}\WindowsPowerShell\v1.0\powershell.exe",
        r'powershell.exe -NoProfile -File "C:\Scripts\{word}-{n}.ps1"',
        "Windows PowerShell",
    ),
    Program(
        rf"{_SYSTEM_32}\notepad.exe", r'"C:\Windows\system32\NOTEPAD.EXE" C:\Users\{user}\{word}{n}.txt', "Notepad"
    ),
    Program(rf"{_SYSTEM_32}\msiexec.exe", r"C:\Windows\system32\msiexec.exe /V", "Windows Installer"),
)
_VENDORS = ("Contoso", "Fabrikam", "Northwind", "Tailspin", "Adatum", "Litware", "Proseware", "Wingtip")
_PRODUCTS = ("Studio", "Sync", "Viewer", "Agent", "Planner", "Mailer", "Scanner", "Editor", "Console", "Bridge")
_PARTS = (
    ("", r"C:\Program Files\{vendor}\{product}\{name}.exe"),
    ("helper", r"C:\Users\{{user}}\AppData\Local\{vendor}\{product}\app-2.{{n}}\{name}.exe"),
    ("service", r"C:\Program Files\{vendor}\{product}\bin\{name}.exe"),
)


def _added(vendor: str, product: str, part: str, place: str) -> Program:
    image = place.format(vendor=vendor, product=product, name=f"{product.lower()}{part}")
    return Program(image, f'"{image}" --task {{word}} --id {{hex}} --parent {{n}}', f"{vendor} {product}", vendor)


_ADDED = tuple(
    _added(vendor, product, part, place) for vendor in _VENDORS for product in _PRODUCTS for part, place in _PARTS
)


def stream(seed: int, count: int, recorded: Sequence[LogRecord] = (), distinct: bool = False) -> Iterator[LogRecord]:
    """Yield `count` records in the order of their times, one in 100 of them a recorded one.

    Where nothing may come twice, no recorded one does either: there are as many as there are, and then no more.
    """
    source = Source(seed, distinct)
    choice = Random(seed)
    kinds, shares = list(KINDS), [share for share, _ in KINDS.values()]
    remaining = choice.sample(recorded, len(recorded))
    for number, (channel, code) in enumerate(choice.choices(kinds, shares, k=count), start=1):
        if remaining and choice.random() < _RECORDED_SHARE:
            original = remaining.pop() if distinct else choice.choice(remaining)
            yield msgspec.structs.replace(original, record_id=number, ts_ns=_START_NS + number * _STEP_NS)
        else:
            yield source.record(channel, code, number)


def document(record: LogRecord) -> dict[str, Any]:
    """Return a record as the `evtx` package writes it: the JSON form of its XML."""
    seconds, rest_ns = divmod(record.ts_ns, 1_000_000_000)
    time = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest_ns // 1000:06}Z"
    system = {
        "Provider": {"#attributes": {"Name": record.provider}},
        "EventID": int(record.code),
        "Version": 5,
        "Level": 4,
        "Task": 1,
        "Opcode": 0,
        "Keywords": "0x8000000000000000",
        "TimeCreated": {"#attributes": {"SystemTime": time}},
        "EventRecordID": record.record_id,
        "Execution": {"#attributes": {"ProcessID": 3208, "ThreadID": 1724}},
        "Channel": record.channel,
        "Computer": record.host,
        "Security": {"#attributes": {"UserID": "S-1-5-18"}},
    }
    return {"Event": {"System": system, "EventData": record.fields}}


def repeated(records: Iterable[LogRecord]) -> dict[str, float]:
    """Return, for the fields that rules ask most, the share of values that stood in an earlier one of the records."""
    seen: dict[str, set[LogValue]] = {name: set() for name in sorted(_WATCHED)}
    total = dict.fromkeys(_WATCHED, 0)
    for record in records:
        for name in _WATCHED & record.fields.keys():
            seen[name].add(record.fields[name])
            total[name] += 1
    return {name: round(1 - len(values) / total[name], 4) for name, values in seen.items() if total[name]}


class Source:
    """Makes records; what they hold depends on the seed and on what was made before."""

    def __init__(self, seed: int, distinct: bool = False) -> None:
        self._random = Random(seed)
        self._distinct = distinct
        self._blanks = _Blanks(self._random)
        self._made = 0
        self._hashes = {program.image: self._blanks["hashes"] for program in _COMMON + _ADDED}

    def record(self, channel: str, code: str, number: int) -> LogRecord:
        """Return a record of a kind, the `number`th. Raises KeyError where there is no such kind."""
        time_ns = _START_NS + number * _STEP_NS
        return LogRecord(
            os="windows",
            ts_ns=time_ns,
            host=_HOST,
            provider=_PROVIDERS[channel],
            channel=channel,
            code=code,
            record_id=number,
            fields=KINDS[channel, code][1](self),
        )

    def blank(self, name: str) -> str:
        """Return a new value of the kind `name`."""
        return self._blanks[name]

    def number(self, least: int, most: int) -> int:
        """Return a number between the two, both included."""
        return self._random.randint(least, most)

    def one_of(self, values: Sequence[str]) -> str:
        """Return one of the values."""
        return self._random.choice(values)

    def filled(self, template: str) -> str:
        """Return the template with its blanks filled in; where nothing may repeat, with something of its own."""
        text = template.format_map(self._blanks)
        return f"{text} --trace {self._unique()}" if self._distinct else text

    def path(self, template: str) -> str:
        """Return the template as a path, where nothing may repeat with a folder of its own."""
        text = template.format_map(self._blanks)
        if not self._distinct:
            return text
        folder, _, name = text.rpartition("\\")
        return f"{folder}\\{self._unique()}\\{name}"

    def program(self) -> Program:
        """Return a program of the stock; half of the time one of the common ones."""
        return self._random.choice(_COMMON if self._random.random() < 0.5 else _ADDED)

    def hashes(self, program: Program) -> str:
        """Return the hashes of a program's image, which stay the same unless nothing may repeat."""
        return self._blanks["hashes"] if self._distinct else self._hashes[program.image]

    def user(self) -> str:
        """Return an account with its domain, half of the time the system's."""
        return r"NT AUTHORITY\SYSTEM" if self._random.random() < 0.5 else f"{_DOMAIN}\\{self._blanks['user']}"

    def process(self) -> Fields:
        """Return the fields that every Sysmon record begins with."""
        return {
            "RuleName": "-",
            "UtcTime": self._blanks["time"],
            "ProcessGuid": self._blanks["guid"],
            "ProcessId": self.number(4, 32_000),
        }

    def _unique(self) -> str:
        self._made += 1
        return f"{self._made:x}-{self._random.getrandbits(40):010x}"


class _Blanks(dict[str, str]):
    """Fills a template's blanks: every look-up makes a new value."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self._makers: dict[str, Callable[[], str]] = {
            "n": lambda: str(random.randint(1, 99_999)),
            "port": lambda: str(random.randint(1_024, 65_535)),
            "hex": lambda: f"{random.getrandbits(32):08x}",
            "hex4": lambda: f"{random.getrandbits(16):04X}",
            "guid": lambda: _guid(random.getrandbits(128)),
            "sid": lambda: f"S-1-5-21-1004336348-1177238915-682003330-{random.randint(1_000, 1_200)}",
            "time": lambda: (
                f"2026-11-24 {random.randint(0, 23):02}:{random.randint(0, 59):02}:"
                f"{random.randint(0, 59):02}.{random.randint(0, 999):03}"
            ),
            "ip": lambda: ".".join(str(random.randint(1, 254)) for _ in range(4)),
            "hashes": lambda: (
                f"MD5={random.getrandbits(128):032X},SHA256={random.getrandbits(256):064X},"
                f"IMPHASH={random.getrandbits(128):032X}"
            ),
            "user": lambda: random.choice(_USERS),
            "service": lambda: random.choice(_SERVICES),
            "word": lambda: random.choice(_WORDS),
            "Word": lambda: random.choice(_WORDS).title(),
            "WORD": lambda: random.choice(_WORDS).upper(),
            "ext": lambda: random.choice(_EXTENSIONS),
            "domain": lambda: f"{random.choice(_WORDS)}{random.randint(1, 400)}.{random.choice(_DOMAINS)}",
        }

    def __missing__(self, name: str) -> str:
        return self._makers[name]()


def _guid(bits: int) -> str:
    digits = f"{bits:032X}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _hexadecimal(number: int) -> str:
    return f"{number:#x}"


def _process_creation(source: Source) -> Fields:
    program, parent = source.program(), source.program()
    user = source.user()
    name = program.image.rpartition("\\")[2]
    return source.process() | {
        "Image": source.path(program.image),
        "FileVersion": f"10.0.{source.number(10_000, 10_040)}.1",
        "Description": program.description,
        "Product": program.description,
        "Company": program.company,
        "OriginalFileName": name,
        "CommandLine": source.filled(program.command),
        "CurrentDirectory": source.path("C:\\Windows\\system32\\"),
        "User": user,
        "LogonGuid": source.blank("guid"),
        "LogonId": _hexadecimal(source.number(999, 1 << 24)),
        "TerminalSessionId": source.number(0, 3),
        "IntegrityLevel": source.one_of(("System", "Medium", "High", "Low")),
        "Hashes": source.hashes(program),
        "ParentProcessGuid": source.blank("guid"),
        "ParentProcessId": source.number(4, 32_000),
        "ParentImage": source.path(parent.image),
        "ParentCommandLine": source.filled(parent.command),
        "ParentUser": user,
    }


def _network_connection(source: Source) -> Fields:
    return source.process() | {
        "Image": source.path(source.program().image),
        "User": source.user(),
        "Protocol": source.one_of(("tcp", "tcp", "tcp", "udp")),
        "Initiated": source.number(0, 9) > 0,
        "SourceIsIpv6": False,
        "SourceIp": f"10.20.{source.number(0, 255)}.{source.number(1, 254)}",
        "SourceHostname": _HOST,
        "SourcePort": source.number(49_152, 65_535),
        "SourcePortName": "-",
        "DestinationIsIpv6": False,
        "DestinationIp": source.blank("ip"),
        "DestinationHostname": source.blank("domain"),
        "DestinationPort": 443 if source.number(0, 3) else source.number(1, 65_535),
        "DestinationPortName": "https",
    }


def _image_loaded(source: Source) -> Fields:
    library = source.one_of(_LIBRARIES)
    return source.process() | {
        "Image": source.path(source.program().image),
        "ImageLoaded": source.path(rf"C:\Windows\System32\{library}.dll"),
        "FileVersion": f"10.0.{source.number(10_000, 10_040)}.1",
        "Description": f"{library} library",
        "Product": "Microsoft Windows Operating System",
        "Company": "Microsoft Corporation",
        "OriginalFileName": f"{library}.dll",
        "Hashes": source.blank("hashes"),
        "Signed": "true",
        "Signature": "Microsoft Windows",
        "SignatureStatus": "Valid",
        "User": source.user(),
    }


def _process_access(source: Source) -> Fields:
    offsets = [f"{source.number(4096, 1 << 20):x}" for _ in range(3)]
    return {
        "RuleName": "-",
        "UtcTime": source.blank("time"),
        "SourceProcessGUID": source.blank("guid"),
        "SourceProcessId": source.number(4, 32_000),
        "SourceThreadId": source.number(4, 32_000),
        "SourceImage": source.path(source.program().image),
        "TargetProcessGUID": source.blank("guid"),
        "TargetProcessId": source.number(4, 32_000),
        "TargetImage": source.path(source.program().image),
        "GrantedAccess": source.one_of(("0x1000", "0x1400", "0x1410", "0x101000")),
        "CallTrace": rf"C:\Windows\SYSTEM32\ntdll.dll+{offsets[0]}|C:\Windows\System32\KERNELBASE.dll+{offsets[1]}"
        rf"|C:\Windows\System32\combase.dll+{offsets[2]}",
        "SourceUser": source.user(),
        "TargetUser": source.user(),
    }


def _file_created(source: Source) -> Fields:
    return source.process() | {
        "Image": source.path(source.program().image),
        "TargetFilename": source.path(source.one_of(_FILES)),
        "CreationUtcTime": source.blank("time"),
        "User": source.user(),
    }


def _registry_added(source: Source) -> Fields:
    return _registry(source, "CreateKey")


def _registry_set(source: Source) -> Fields:
    return _registry(source, "SetValue") | {"Details": f"DWORD (0x{source.blank('hex')})"}


def _registry(source: Source, kind: str) -> Fields:
    return source.process() | {
        "EventType": kind,
        "Image": source.path(source.program().image),
        "TargetObject": source.path(source.one_of(_KEYS)),
        "User": source.user(),
    }


def _pipe_created(source: Source) -> Fields:
    return source.process() | {
        "EventType": "CreatePipe",
        "PipeName": f"\\mojo.{source.number(4, 32_000)}.{source.number(4, 32_000)}.{source.blank('hex')}",
        "Image": source.path(source.program().image),
        "User": source.user(),
    }


def _dns_query(source: Source) -> Fields:
    return source.process() | {
        "QueryName": source.blank("domain"),
        "QueryStatus": "0",
        "QueryResults": f"::ffff:{source.blank('ip')};",
        "Image": source.path(source.program().image),
        "User": source.user(),
    }


def _subject(source: Source) -> Fields:
    return {
        "SubjectUserSid": source.blank("sid"),
        "SubjectUserName": source.blank("user"),
        "SubjectDomainName": _DOMAIN,
        "SubjectLogonId": _hexadecimal(source.number(999, 1 << 24)),
    }


def _audited_process(source: Source) -> Fields:
    program = source.program()
    return _subject(source) | {
        "NewProcessId": _hexadecimal(source.number(4, 32_000)),
        "NewProcessName": source.path(program.image),
        "TokenElevationType": "%%1936",
        "ProcessId": _hexadecimal(source.number(4, 32_000)),
        "CommandLine": source.filled(program.command),
        "TargetUserSid": "S-1-0-0",
        "TargetUserName": "-",
        "TargetDomainName": "-",
        "TargetLogonId": "0x0",
        "ParentProcessName": source.path(source.program().image),
        "MandatoryLabel": "S-1-16-8192",
    }


def _logon(source: Source) -> Fields:
    return _subject(source) | {
        "TargetUserSid": source.blank("sid"),
        "TargetUserName": source.blank("user"),
        "TargetDomainName": _DOMAIN,
        "TargetLogonId": _hexadecimal(source.number(999, 1 << 24)),
        "LogonType": int(source.one_of("2335557")),
        "LogonProcessName": "Advapi",
        "AuthenticationPackageName": "Negotiate",
        "WorkstationName": f"WS-{source.number(1, 2000):04}",
        "LogonGuid": source.blank("guid"),
        "KeyLength": 0,
        "ProcessId": _hexadecimal(source.number(4, 32_000)),
        "ProcessName": source.path(rf"{_SYSTEM_32}\services.exe"),
        "IpAddress": f"10.20.{source.number(0, 255)}.{source.number(1, 254)}",
        "IpPort": str(source.number(1_024, 65_535)),
    }


def _object_access(source: Source) -> Fields:
    return _subject(source) | {
        "ObjectServer": "Security",
        "ObjectType": "File",
        "ObjectName": source.path(source.one_of(_FILES)),
        "HandleId": _hexadecimal(source.number(4, 1 << 16)),
        "AccessList": "%%4416",
        "AccessMask": source.one_of(("0x1", "0x2", "0x20", "0x80")),
        "ProcessId": _hexadecimal(source.number(4, 32_000)),
        "ProcessName": source.path(source.program().image),
    }


def _script_block(source: Source) -> Fields:
    return {
        "MessageNumber": 1,
        "MessageTotal": 1,
        "ScriptBlockText": source.filled(source.one_of(_SCRIPTS)),
        "ScriptBlockId": source.blank("guid").lower(),
        "Path": source.path(r"C:\Scripts\{word}-{n}.ps1"),
    }


def _service_state(source: Source) -> Fields:
    return {"param1": source.blank("service"), "param2": source.one_of(("running", "stopped"))}


def _service_installed(source: Source) -> Fields:
    return {
        "ServiceName": f"{source.blank('Word')} {source.blank('n')}",
        "ImagePath": source.path(source.program().image),
        "ServiceType": "user mode service",
        "StartType": "demand start",
        "AccountName": "LocalSystem",
    }


KINDS: dict[tuple[str, str], tuple[int, Callable[[Source], Fields]]] = {
    (SYSMON, "1"): (18, _process_creation),
    (SYSMON, "3"): (12, _network_connection),
    (SYSMON, "7"): (14, _image_loaded),
    (SYSMON, "10"): (10, _process_access),
    (SYSMON, "11"): (10, _file_created),
    (SYSMON, "12"): (5, _registry_added),
    (SYSMON, "13"): (9, _registry_set),
    (SYSMON, "17"): (2, _pipe_created),
    (SYSMON, "22"): (6, _dns_query),
    (SECURITY, "4688"): (4, _audited_process),
    (SECURITY, "4624"): (3, _logon),
    (SECURITY, "4663"): (3, _object_access),
    (POWERSHELL, "4104"): (2, _script_block),
    (SYSTEM, "7036"): (1, _service_state),
    (SYSTEM, "7045"): (1, _service_installed),
}
