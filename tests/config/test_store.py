from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vxswitch.config.convert import Given
from vxswitch.config.sections import Listen
from vxswitch.config.store import build_store, parse_url
from vxswitch.errors import UsageError


def store(env=None, default="embedded:", **keys):
    table = {key: Given(str(value), "--set", text=True) for key, value in keys.items()}
    return build_store(table, env or {}, default)


@pytest.mark.parametrize(
    ("text", "url", "password"),
    [
        ("static:", "static:", None),
        ("static", "static:", None),
        ("embedded:", "embedded:", None),
        ("redis://h", "redis://h", None),
        ("redis://h:6380/2", "redis://h:6380/2", None),
        ("redis://:pw@h", "redis://h", "pw"),
        ("redis://u:pw@h/0", "redis://u@h/0", "pw"),
        ("redis://u@h", "redis://u@h", None),
        ("redis://:@h", "redis://h", None),
        ("redis://:p%40w%2F@h", "redis://h", "p@w/"),
        ("redis://:p@w/x@h", "redis://h", "p@w/x"),
        ("redis://h?db=3", "redis://h?db=3", None),
        ("rediss://[fd00::1]:6379", "rediss://[fd00::1]:6379", None),
        ("unix:///run/redis.sock", "unix:///run/redis.sock", None),
        ("unix://u:pw@/run/redis.sock?db=1", "unix://u@/run/redis.sock?db=1", "pw"),
        ("redis+sentinel://:pw@h1,h2:26379/main", "redis+sentinel://h1,h2:26379/main", "pw"),
        ("redis+cluster://h1,10.0.0.2:7000", "redis+cluster://h1,10.0.0.2:7000", None),
    ],
)
def test_urls_part_with_their_password(text, url, password):
    parsed = parse_url(text)
    assert (parsed.url, parsed.password) == (url, password)
    assert password is None or password not in repr(parsed)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "want redis://"),
        ("redis", "want redis://"),
        ("redis:", "want redis://"),
        ("redis:h", "want redis://"),
        ("http://h", "want redis://"),
        ("static://", "want redis://"),
        ("redis://", "HOST"),
        ("redis://h:0", "HOST"),
        ("redis://h:65536", "HOST"),
        ("redis://h:x", "HOST"),
        ("redis://fd00::1", r"in \[ \]"),
        ("redis://[fd00::z]", "HOST"),
        ("redis://[:::]", "HOST"),
        ("redis://h h", "HOST"),
        ("redis://h/blue", "database number"),
        ("redis://h?password=hunter2", "db=NUMBER"),
        ("redis://h?db=1&ssl=no", "db=NUMBER"),
        ("redis://h?db=x", "db=NUMBER"),
        ("redis://a/b:hunter2@h", "user"),
        ("redis://h1,h2", "several"),
        ("unix://run/redis.sock", "absolute"),
        ("unix://", "absolute"),
        ("redis+sentinel://h1,h2", "master"),
        ("redis+sentinel://h1,,h2/m", "HOST"),
        ("redis+cluster://h1/0", "no databases"),
        ("redis+cluster://h1?db=0", "no databases"),
    ],
)
def test_wrong_urls(text, says):
    with pytest.raises(UsageError, match=says) as caught:
        parse_url(text)
    assert "hunter2" not in str(caught.value)


def complaint_or_url(text: str) -> str:
    try:
        return parse_url(text).url
    except UsageError as error:
        return str(error)


@given(st.text(), st.text(alphabet="abc@:/?#[].%"), st.text(alphabet="xyz", min_size=8))
def test_no_password_shows_in_a_url_or_a_complaint(before, after, password):
    for scheme in ("redis", "unix", "redis+sentinel", "nonsense"):
        assert f"Q{password}Q" not in complaint_or_url(f"{scheme}://{before}:Q{password}Q@{after}")


@given(st.text())
def test_any_text_is_a_url_or_refused_in_words(text):
    assert complaint_or_url(text)


def test_the_default_is_used_when_nothing_is_given():
    assert store().url == "embedded:"
    assert store(default="static:").url == "static:"


SECRET = {"VXSWITCH_STORE": "from-env"}


@pytest.fixture
def password_file(tmp_path):
    path = tmp_path / "password"
    path.write_text("from-file\n")
    path.chmod(0o600)
    return path


def test_the_url_s_own_password_comes_first_then_the_file_then_the_environment(password_file):
    both = {"url": "redis://:from-url@h", "password_file": password_file}
    assert store(SECRET, **both).password == "from-url"
    assert store(SECRET, url="redis://h", password_file=password_file).password == "from-file"
    assert store(SECRET, url="redis://h").password == "from-env"
    assert store(url="redis://h").password is None


@pytest.mark.parametrize(
    ("env", "url", "expected"),
    [
        ("redis://:pw@h:6379", None, ("redis://h:6379", "pw")),
        ("redis://:pw@h:6379", "redis://h:6379", ("redis://h:6379", "pw")),
        ("redis://u:pw@h:6379/1", "redis://u@h:6379/2", ("redis://u@h:6379/2", "pw")),
        ("redis://:pw@h:6379", "redis://other:6379", ("redis://other:6379", None)),
        ("pw", "redis://h", ("redis://h", "pw")),
        ("pw", "static:", ("static:", None)),
        ("static:", None, ("static:", None)),
        ("", None, ("embedded:", None)),
    ],
)
def test_the_environment_holds_a_url_or_a_password(env, url, expected):
    found = store({"VXSWITCH_STORE": env}, **({} if url is None else {"url": url}))
    assert (found.url, found.password) == expected


def test_the_environment_goes_before_the_file_and_after_the_command_line():
    in_file = {"url": Given("redis://file", "in vx.toml")}
    assert build_store(in_file, {"VXSWITCH_STORE": "redis://env"}, "static:").url == "redis://env"
    assert store({"VXSWITCH_STORE": "redis://env"}, url="redis://cli").url == "redis://cli"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_an_open_password_file_is_refused(password_file, mode):
    password_file.chmod(mode)
    with pytest.raises(UsageError, match="chmod 0600") as caught:
        store(url="redis://h", password_file=password_file)
    assert "from-file" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\n", b"a\nb\n", b"\xff", b"a\0b"])
def test_a_password_file_holds_one_line(password_file, content):
    password_file.write_bytes(content)
    with pytest.raises(UsageError, match="one line of text"):
        store(url="redis://h", password_file=password_file)


def test_a_password_file_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match=r"store.password_file.*not a file"):
        store(url="redis://h", password_file=tmp_path / "none")


def test_an_open_configuration_file_with_a_password_is_refused():
    def table(exposed: bool):
        return {"url": Given("redis://:hunter2@h", "in vx.toml", exposed=exposed)}

    assert build_store(table(False), {}, "static:").password == "hunter2"
    with pytest.raises(UsageError, match=r"store.url \(in vx.toml\).*chmod 0600") as caught:
        build_store(table(True), {}, "static:")
    assert "hunter2" not in str(caught.value)


def test_only_a_private_store_with_a_password_listens():
    with pytest.raises(UsageError, match="wants a password"):
        store(url="embedded:", listen="10.0.0.1")
    with pytest.raises(UsageError, match="only embedded: listens"):
        store(SECRET, url="redis://h", listen="10.0.0.1")
    assert store(SECRET, url="embedded:", listen="10.0.0.1").listen == Listen("10.0.0.1", 6379)


def test_certificates_want_tls_and_come_in_pairs(password_file):
    with pytest.raises(UsageError, match=r"store.ca_file.*rediss://"):
        store(url="redis://h", ca_file=password_file)
    with pytest.raises(UsageError, match="both or neither"):
        store(url="rediss://h", cert_file=password_file)
    found = store(url="rediss://h", ca_file=password_file, cert_file=password_file, key_file=password_file)
    assert found.ca_file == password_file


def test_sentinels_have_a_user_and_a_password_of_their_own(password_file):
    keys = {"sentinel_user": "watcher", "sentinel_password_file": password_file}
    found = store(SECRET, url="redis+sentinel://h/main", **keys)
    assert (found.password, found.sentinel_user, found.sentinel_password) == ("from-env", "watcher", "from-file")
    assert store(url="redis+sentinel://:pw@h/main").sentinel_password is None
    with pytest.raises(UsageError, match="has no sentinels"):
        store(url="redis+cluster://h", **keys)
    with pytest.raises(UsageError, match="sentinel_password_file, too"):
        store(url="redis+sentinel://h/main", sentinel_user="watcher")
    with pytest.raises(UsageError, match=r"store\.sentinel_user.*letter or digit"):
        store(url="redis+sentinel://h/main", sentinel_user="two words")
    password_file.chmod(0o644)
    with pytest.raises(UsageError, match=r"sentinel_password_file.*chmod 0600"):
        store(url="redis+sentinel://h/main", **keys)


def test_static_has_no_password(password_file):
    with pytest.raises(UsageError, match="has no password"):
        store(url="static:", password_file=password_file)


def test_a_password_is_no_key():
    with pytest.raises(UsageError, match=r"unknown key store.password .*did you mean password_file") as caught:
        store(url="redis://h", password="hunter2")
    assert "hunter2" not in str(caught.value)
