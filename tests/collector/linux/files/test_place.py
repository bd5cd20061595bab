"""In which set of sensitive places a path is, and from which directories one can be reached."""

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.collector.linux.files.place import Places
from shield.collector.linux.files.sensitive import PLACES, FileOptions


@pytest.fixture(scope="module")
def places() -> Places:
    options = FileOptions()
    return Places(options.globs(), options.excluded())


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (b"/etc/passwd", "accounts"),
        (b"/etc/passwd-", ""),
        (b"/etc/ld.so.preload", "preload"),
        (b"/etc/cron.d/job", "cron"),
        (b"/etc/cron.d/sub/job", ""),
        (b"/etc/systemd/system/a.service.d/override.conf", "systemd"),
        (b"/home/alice/.ssh/authorized_keys", "ssh_keys"),
        (b"/root/.bashrc", "profile"),
        (b"/var/lib/redis/.ssh/authorized_keys", "ssh_keys"),
        (b"/var/www/shop/public/deep/er/x.php", "web_root"),
        (b"/var/www/shop/x.jpg", ""),
        (b"/var/www/.htaccess", "web_root"),
        (b"/usr/lib/modules/6.1.0/extra/rootkit.ko.xz", "kernel_modules"),
        (b"/usr/lib/x86_64-linux-gnu/security/pam_evil.so", "pam"),
        (b"/home/a/.mozilla/firefox/x.default/extensions/bad.xpi", "browser_extension"),
        (b"/home/a/.config/chromium/Default/Extensions/abc/1.0_0/manifest.json", "browser_extension"),
        (b"/etc/nginx/.nginx.conf.swp", ""),
        (b"/home/alice/src/main.c", ""),
        (b"/etc/cron.d/\xff\n\x1b[2J", "cron"),
    ],
)
def test_the_shipped_places_hold_what_they_are_meant_to(places: Places, path: bytes, place: str) -> None:
    assert places.place(path) == place


def test_nothing_sensitive_is_reached_from_an_ordinary_directory(places: Places) -> None:
    assert places.folder(b"/home/alice/src") is None
    assert places.folder(b"/tmp") is None
    assert places.folder(b"/home/alice") is not None


def test_a_set_of_the_same_name_replaces_the_shipped_one_and_an_empty_one_is_not_watched() -> None:
    options = FileOptions(
        places={"cron": ("/srv/cron/*",), "accounts": (), "mine": ("~/secret",)}, exclude=("/srv/cron/x",)
    )
    places = Places(options.globs(), options.excluded())
    assert places.place(b"/srv/cron/a") == "cron"
    assert places.place(b"/srv/cron/x") == ""
    assert places.place(b"/etc/cron.d/a") == ""
    assert places.place(b"/etc/passwd") == ""
    assert places.place(b"/home/a/secret") == "mine"
    assert places.place(b"/etc/sudoers") == "sudoers"


def test_the_set_named_first_counts() -> None:
    places = Places({"one": ("/a/*",), "two": ("/a/b", "/a/**")})
    assert places.place(b"/a/b") == "one"
    assert places.place(b"/a/b/c") == "two"


def test_a_directory_says_where_any_file_in_it_would_be() -> None:
    places = Places({"any": ("/a/*",), "deep": ("/b/**",), "few": ("/c/x*", "/c/y")})
    folders = [places.folder(path) for path in (b"/a", b"/b/c/d", b"/c")]
    assert [folder and folder.everything for folder in folders] == ["any", "deep", ""]


def test_the_directories_that_globs_start_from_are_known() -> None:
    assert Places({"a": ("/etc/cron.d/*", "/home/*/.bashrc", "/var/www/**/x", "/f")}).bases == [
        b"/etc/cron.d",
        b"/home",
        b"/var/www",
        b"/",
    ]


def test_a_place_that_does_not_start_at_the_root_is_refused() -> None:
    with pytest.raises(ValueError, match="etc/x"):
        Places({"a": ("etc/x",)})


def test_every_shipped_glob_starts_at_the_root_or_a_home() -> None:
    assert all(glob.startswith(("/", "~/")) for globs in PLACES.values() for glob in globs)


COMPONENTS = st.sampled_from(["a", "b", "ab", "*", "a*", "?", "[ab]"])
NAMES = st.sampled_from(["a", "b", "ab", "ba"])


@given(glob=st.lists(COMPONENTS, min_size=1, max_size=4), path=st.lists(NAMES, min_size=1, max_size=4))
def test_globs_match_component_by_component(glob: list[str], path: list[str]) -> None:
    expected = len(glob) == len(path) and all(map(fnmatch.fnmatchcase, path, glob))
    places = Places({"x": ("/" + "/".join(glob),)})
    assert (places.place(("/" + "/".join(path)).encode()) == "x") is expected


@given(path=st.lists(NAMES, min_size=1, max_size=5))
def test_two_stars_stand_for_any_number_of_components(path: list[str]) -> None:
    places = Places({"x": ("/a/**/b",)})
    expected = len(path) > 1 and path[0] == "a" and path[-1] == "b"
    assert (places.place(("/" + "/".join(path)).encode()) == "x") is expected
