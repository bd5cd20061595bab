"""What Sigma's log sources are called and which fields their events have, as far as Shield reads them.

The names of a category's fields are those of Sigma's taxonomy, with what Sysmon and the Security log add to them:
https://sigmahq.io/sigma-specification/specification/sigma-appendix-taxonomy.html. Beside them, any path into an event's
data is a field (`fields`). The events of a service that is not about one kind of thing have whatever fields their log
gives them: of those nothing is known here.
"""

from typing import Any, get_args, get_origin, get_type_hints

from msgspec import Struct

from shield.event import Data
from shield.scorer.sigma.fields import NAMES, is_observed

_SYSMON = ("EventID", "Channel", "Provider_Name", "RuleName", "UtcTime", "Computer", "Hostname")
_DOER = ("Image", "ProcessId", "ProcessGuid", "User")
_HASHES = ("Hashes", "md5", "sha1", "sha256", "Imphash")
_VERSION = ("FileVersion", "Description", "Product", "Company", "OriginalFileName")
_STARTED = (
    *("CommandLine", "CurrentDirectory", "IntegrityLevel", "LogonId", "LogonGuid", "TerminalSessionId"),
    *("ParentImage", "ParentCommandLine", "ParentProcessId", "ParentProcessGuid", "ParentUser"),
)
_SECURITY_STARTED = (
    *("NewProcessName", "NewProcessId", "ParentProcessName", "TokenElevationType", "MandatoryLabel"),
    *("SubjectUserName", "SubjectUserSid", "SubjectDomainName", "SubjectLogonId"),
    *("TargetUserName", "TargetUserSid", "TargetDomainName", "TargetLogonId"),
)
_FILE = ("TargetFilename", "CreationUtcTime")
_SIGNED = ("Signed", "Signature", "SignatureStatus")
_REGISTRY = ("EventType", "TargetObject", "Details", "NewName")
_SECURITY_REGISTRY = ("ObjectName", "ObjectValueName", "NewValue", "OldValue", "NewValueType", "OperationType")
_BETWEEN = (
    *("SourceImage", "SourceProcessId", "SourceProcessGuid", "SourceUser", "SourceThreadId"),
    *("TargetImage", "TargetProcessId", "TargetProcessGuid", "TargetUser"),
)
_SCRIPT = ("Path", "ScriptBlockText", "ScriptBlockId", "MessageNumber", "MessageTotal")

_CONNECTION = (
    *_DOER,
    *("Initiated", "Protocol", "SourceIp", "SourcePort", "SourceHostname", "SourcePortName", "SourceIsIpv6"),
    *("DestinationIp", "DestinationPort", "DestinationHostname", "DestinationPortName", "DestinationIsIpv6"),
)
_OWN = (
    *("authentication", "account_change", "persistence_change", "privilege_change"),
    *("module_load", "system_change"),
)
"""Categories of Shield's own; their rules go by paths into an event's data."""

FIELDS: dict[str, tuple[str, ...]] = {
    "process_creation": (*_DOER, *_STARTED, *_VERSION, *_HASHES, *_SECURITY_STARTED),
    "process_termination": (*_DOER, "Status", "ExitStatus"),
    "process_access": (*_BETWEEN, "GrantedAccess", "CallTrace", "User"),
    "process_tampering": (*_DOER, "Type"),
    "create_remote_thread": (*_BETWEEN, "NewThreadId", "StartAddress", "StartModule", "StartFunction", "User"),
    "raw_access_thread": (*_DOER, "Device"),
    "network_connection": _CONNECTION,
    "network_flow": _CONNECTION,
    "network_listen": _CONNECTION,
    "dns_query": (*_DOER, "QueryName", "QueryStatus", "QueryResults"),
    "file_access": (*_DOER, "FileName", "TargetFilename"),
    "file_change": (*_DOER, *_FILE, "PreviousCreationUtcTime"),
    "file_event": (*_DOER, *_FILE, *_HASHES),
    "file_rename": (*_DOER, *_FILE, "SourceFilename"),
    "file_delete": (*_DOER, *_FILE, *_HASHES, "IsExecutable", "Archived"),
    "file_delete_detected": (*_DOER, *_FILE, *_HASHES, "IsExecutable"),
    "file_block_executable": (*_DOER, *_FILE, *_HASHES),
    "file_block_shredding": (*_DOER, *_FILE, *_HASHES, "IsExecutable"),
    "file_executable_detected": (*_DOER, *_FILE, *_HASHES),
    "create_stream_hash": (*_DOER, *_FILE, *_HASHES, "Hash", "Contents"),
    "image_load": (*_DOER, *_VERSION, *_HASHES, *_SIGNED, "ImageLoaded"),
    "driver_load": (*_HASHES, *_SIGNED, "ImageLoaded"),
    **dict.fromkeys(_OWN, (*_DOER, "ParentImage", "ParentCommandLine")),
    "registry_event": (*_DOER, *_REGISTRY, *_SECURITY_REGISTRY),
    "registry_add": (*_DOER, *_REGISTRY, *_SECURITY_REGISTRY),
    "registry_delete": (*_DOER, *_REGISTRY, *_SECURITY_REGISTRY),
    "registry_rename": (*_DOER, *_REGISTRY, *_SECURITY_REGISTRY),
    "registry_set": (*_DOER, *_REGISTRY, *_SECURITY_REGISTRY),
    "pipe_created": (*_DOER, "PipeName", "EventType"),
    "wmi_event": (
        *("EventType", "Operation", "User", "EventNamespace", "Name", "Query", "Type", "Destination"),
        *("Consumer", "Filter"),
    ),
    "clipboard_capture": (*_DOER, *_HASHES, "Session", "ClientInfo", "Archived"),
    "sysmon_status": ("State", "Version", "SchemaVersion", "Configuration", "ConfigurationFileHash"),
    "sysmon_error": ("ID", "Description"),
    "ps_script": (*_SCRIPT, "Level"),
    "ps_module": ("ContextInfo", "UserData", "Payload"),
    "ps_classic_start": ("Data", "HostApplication", "EngineVersion", "HostVersion", "HostName"),
    "ps_classic_provider_start": (
        "Data",
        "HostApplication",
        "EngineVersion",
        "HostVersion",
        "HostName",
        "ProviderName",
    ),
    "ps_classic_script": ("Data", "HostApplication", "EngineVersion", "HostVersion", "HostName", "UserId"),
}
"""The fields of the events of each category that Shield reads."""

SERVICES: dict[str, tuple[str, ...]] = {
    "windows": (
        *("security", "system", "application", "sysmon", "powershell", "powershell-classic", "windefend"),
        *("taskscheduler", "wmi", "dns-server", "dns-server-audit", "dns-server-analytic", "dns-client"),
        *("driver-framework", "ntlm", "dhcp", "msexchange-management", "applocker", "printservice-admin"),
        *("printservice-operational", "codeintegrity-operational", "smbclient-security", "smbclient-connectivity"),
        *("smbserver-connectivity", "smbserver-security", "firewall-as", "bits-client"),
        *("terminalservices-localsessionmanager", "microsoft-servicebus-client", "servicebus-client", "ldap"),
        *("ldap_debug", "security-mitigations", "diagnosis-scripted", "shell-core", "openssh", "bitlocker", "vhdmp"),
        *("appxdeployment-server", "appxpackaging-om", "appmodel-runtime", "lsa-server", "capi2"),
        *("certificateservicesclient-lifecycle-system", "application-experience", "hyper-v-worker"),
        *("iis-configuration", "kernel-event-tracing", "kernel-shimengine", "ntfs", "sense"),
    ),
    "linux": (
        *("auditd", "sysmon", "sshd", "sudo", "su", "login", "auth", "syslog", "cron", "kernel", "daemon"),
        *("vsftpd", "clamav", "guacamole", "apache", "nginx", "modsecurity"),
    ),
}
"""The services of each product that Shield reads."""

TACTICS: tuple[str, ...] = (
    "reconnaissance",
    "resource-development",
    "initial-access",
    "execution",
    "persistence",
    "privilege-escalation",
    "defense-evasion",
    "stealth",
    "defense-impairment",
    "credential-access",
    "discovery",
    "lateral-movement",
    "collection",
    "command-and-control",
    "exfiltration",
    "impact",
)
"""ATT&CK's tactics, in its order; `stealth` and `defense-impairment` have taken over from `defense-evasion`."""


def unread(product: str | None, service: str | None, category: str | None) -> str:
    """Return which part of a log source Shield reads nothing of, as `product: macos`; `""` where it reads all."""
    if product and product not in SERVICES:
        return f"product: {product}"
    if category and category not in FIELDS:
        return f"category: {category}"
    products = (product,) if product else tuple(SERVICES)
    if service and not any(service in SERVICES[one] for one in products):
        return f"service: {service}"
    return ""


def knows(category: str, field: str) -> bool:
    """Return whether events of `category`, one in FIELDS, can have `field`."""
    return field in FIELDS[category] or field in _SYSMON or leads_somewhere(field)


def is_path(field: str) -> bool:
    """Return whether `field` is written as a path into the data of events, whether or not it leads anywhere."""
    part, dot, _ = field.partition(".")
    return bool(dot) and part in Data.__struct_fields__


def leads_somewhere(field: str) -> bool:
    """Return whether `field` is a path to a value in the data of events, such as `process.env.LD_PRELOAD`."""
    if field in NAMES or not is_observed(field):
        return False
    kind: Any = Data
    for step in field.split("."):
        kind = inner(kind, step)
        if kind is None:
            return False
    return True


def inner(kind: Any, step: str) -> Any:
    """Return the type of what is called `step` in a value of type `kind`, None where there is no such thing."""
    if get_origin(kind) is dict:
        return get_args(kind)[1]
    structs = [one for one in get_args(kind) or (kind,) if isinstance(one, type) and issubclass(one, Struct)]
    return get_type_hints(structs[0]).get(step) if structs else None
