"""What is taken out of text, and what stays: the families of the built-in set, and the user's own."""

import json
import re
import subprocess
import sys

import pytest

from spanloom.config import Config
from spanloom.credentials import names_credential
from spanloom.redact import Redactor

MARK = "[REDACTED]"
BODY = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0"
KEY_LINES = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKB\n"

TOKENS = {
    "openai": f"sk-{BODY}",
    "openai project": f"sk-proj-{BODY}-{BODY}_{BODY}",
    "openai service account": f"sk-svcacct-{BODY}",
    "anthropic": f"sk-ant-api03-{BODY}-{BODY}",
    "langfuse secret": "sk-lf-01234567-89ab-cdef-0123-456789abcdef",
    "langfuse public": "pk-lf-01234567-89ab-cdef-0123-456789abcdef",
    "openrouter": f"sk-or-v1-{BODY}",
    "stripe": f"sk_live_{BODY}",
    "stripe restricted": f"rk_test_{BODY}",
    "stripe webhook": f"whsec_{BODY}",
    "elevenlabs": f"sk_{BODY}",
    "github": f"ghp_{BODY[:36]}",
    "github oauth": f"gho_{BODY[:36]}",
    "github fine": f"github_pat_11ABCDEFG0_{BODY}",
    "gitlab": "glpat-a1B2c3D4e5F6g7H8i9J0",
    "aws": "AKIAIOSFODNN7EXAMPLE",
    "aws temporary": "ASIAIOSFODNN7EXAMPLE",
    "google": f"AIza{BODY[:35]}",
    "google oauth": f"ya29.{BODY}",
    "google client": f"GOCSPX-{BODY[:28]}",
    "slack": "xoxb-123456789012-1234567890123-a1B2c3D4e5F6g7H8i9J0k1L2",
    "hugging face": f"hf_{BODY[:34]}",
    "groq": f"gsk_{BODY}",
    "xai": f"xai-{BODY}",
    "perplexity": f"pplx-{BODY}",
    "tavily": f"tvly-dev-{BODY}",
    "nvidia": f"nvapi-{BODY}",
    "langsmith": f"lsv2_pt_{BODY}_a1b2c3d4e5",
    "npm": f"npm_{BODY[:36]}",
    "pypi": f"pypi-AgEIcHlwaS5vcmc{BODY}",
    "sendgrid": f"SG.{BODY[:22]}.{BODY}",
    "jwt": f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.{BODY}",
    "e-mail": "jane.doe+news@mail.example.co.uk",
    "card": "4111 1111 1111 1111",
    "card dashed": "5500-0000-0000-0004",
    "card plain": "4012888888881881",
    "amex": "3782 822463 10005",
    "diners": "30569309025904",
    "card of 19": "6304000000000000000",
    "private key": f"-----BEGIN PRIVATE KEY-----\n{KEY_LINES}-----END PRIVATE KEY-----",
    "rsa key": f"-----BEGIN RSA PRIVATE KEY-----\n{KEY_LINES}-----END RSA PRIVATE KEY-----",
    "encrypted key": f"-----BEGIN ENCRYPTED PRIVATE KEY-----\n{KEY_LINES}-----END ENCRYPTED PRIVATE KEY-----",
    "pgp key": f"-----BEGIN PGP PRIVATE KEY BLOCK-----\n{KEY_LINES}-----END PGP PRIVATE KEY BLOCK-----",
    "bearer": f"Bearer {BODY}",
    "bearer shouted": f"BEARER {BODY}",
    "basic": "Basic dXNlcjpwYXNzd29yZA==",
}
# Text around a secret: it begins a word in each
AROUND = [
    "{}",
    "the key is {}, keep it",
    '"{}"',
    "({})",
    "key={};",
    "a_{}",
    "x\n{}\ny",
    "line\\n{}",  # an escape, in JSON inside a string
    "\\u00e9{}",
    "\\x0a{}",
    "q%20{}",
    "{}.",
    "https://host/?q={}&x=1",
]


@pytest.fixture(scope="module")
def text():
    return Redactor(Config()).text


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("name", TOKENS)
def test_secrets_that_their_look_gives_away(text, name, around):
    secret = TOKENS[name]
    redacted = text(around.format(secret))
    assert MARK in redacted
    digits = re.sub(r"\D", "", secret)
    for piece in re.split(r"[^A-Za-z0-9]+", secret):
        if len(piece) > 6 or (digits == piece and len(piece) > 3):
            assert piece not in redacted.replace("PRIVATE", "").replace("BEARER", "") or piece in ("PRIVATE", "BEARER")
    before, after = around.split("{}")
    if "=" not in around and name != "e-mail":  # whose name may begin with what is around it
        assert redacted.startswith(before)
    assert redacted.endswith(after[-2:].removeprefix("."))  # which a token may end with


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ("postgres://user:p4ss@db:5432/x", f"postgres://{MARK}@db:5432/x"),
        ("redis://:p4ss@cache:6379", f"redis://{MARK}@cache:6379"),
        ("mongodb+srv://u:p%40ss@h1,h2/db?x=1", f"mongodb+srv://{MARK}@h1,h2/db?x=1"),
        ("https://u:p@ss@host/path", f"https://{MARK}@host/path"),
        ('"amqp://a:b@h", "x@y.de"', f'"amqp://{MARK}@h", "{MARK}"'),
    ],
)
def test_credentials_in_urls(text, given, left):
    assert text(given) == left


VALUE = "hun7er2X"
NAMES = [
    "password",
    "Password",
    "db_password",
    "dbPassword",
    "PGPASSWORD",
    "passwd",
    "passphrase",
    "secret",
    "client_secret",
    "clientSecret",
    "clientsecret",
    "api_key",
    "apiKey",
    "API-KEY",
    "X-Api-Key",
    "apikey",
    "api key",
    "OPENAI_API_KEY",
    "awsSecretAccessKey",
    "AWS_SECRET_ACCESS_KEY",
    "AccountKey",
    "privateKey",
    "signing_key",
    "access_token",
    "accessToken",
    "refresh-token",
    "idToken",
    "auth_token",
    "authToken",
    "X-Auth-Token",
    "session_token",
    "api_token",
    "bot_token",
    "Authorization",
    "proxy-authorization",
    "Cookie",
    "Set-Cookie",
    "credentials",
    "api_keys",
    "passwords",
    "token",
    "pwd",
    "auth",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_of_credentials(text, name):
    assert names_credential(name)
    assert names_credential(f"{name}:")
    as_json = json.dumps({name: VALUE, "after": 1})
    for _ in range(4):  # JSON inside a string, inside a string, …
        hidden = text(as_json)
        assert VALUE not in hidden
        assert "after" in hidden
        as_json = json.dumps(as_json)
    assert json.loads(text(json.dumps({name: VALUE, "after": 1}))) == {name: MARK, "after": 1}
    for given in (
        f"{name}={VALUE}",
        f"{name} = '{VALUE}'",
        repr({name: VALUE}),
        repr({name.encode(): VALUE.encode()}),
        json.dumps({name: [VALUE, {"x": VALUE}]}),
        f"?{name}={VALUE}&x=1",
        f"x\\n{name}={VALUE}",
        f"--{name.lower().replace('_', '-')} {VALUE}" if re.fullmatch("[a-z_]+", name) else f"{name}={VALUE}",
    ):
        assert VALUE not in text(given), given


@pytest.mark.parametrize(
    ("given", "left"),
    [
        (f"Authorization: Token {VALUE}\nHost: x", f"Authorization: {MARK}\nHost: x"),
        (f"Cookie: a={VALUE}; b={VALUE}\r\nHost: x", f"Cookie: {MARK}\r\nHost: x"),
        (f"curl -H 'Authorization: {VALUE}' url", f"curl -H 'Authorization: {MARK}' url"),
        (f"<password>{VALUE}</password>", f"<password>{MARK}</password>"),
        (f"password%3D{VALUE}%26", f"password%3D{MARK}"),
        (f'f(password=f"{VALUE}", x=1)', f'f(password=f"{MARK}", x=1)'),
        (f"password='''a\n{VALUE}'''", f"password='''{MARK}'''"),
        (f'"password": "a\\"{VALUE}", "x": 1', f'"password": "{MARK}", "x": 1'),
        (f'"password": "{VALUE}', f'"password": "{MARK}'),
        (f"auth=('u', '{VALUE}'), x=1", f"auth={MARK}, x=1"),
        (f"['psql', '--password', '{VALUE}', 'x']", f"['psql', '--password', '{MARK}', 'x']"),
        (f"--db-password {VALUE} x", f"--db-password {MARK} x"),
        (f"password: {VALUE}", f"password: {MARK}"),
        (f"secret => '{VALUE}'", f"secret => '{MARK}'"),
        (f"\u0130 password: {VALUE}", f"\u0130 password: {MARK}"),  # a letter whose small form is longer
        (f"password={VALUE}; secret={VALUE}", f"password={MARK}; secret={MARK}"),
        (f"password=sk-{BODY}${VALUE}", f"password={MARK}"),  # recognised in part
        ('"api_key": 12345', f'"api_key": "{MARK}"'),
        (f'password="a secret={VALUE} {VALUE}", x=1', f'password="{MARK}", x=1'),  # a name inside a value
        ("password=None, secret: null", "password=None, secret: null"),
    ],
)
def test_values_behind_names(text, given, left):
    assert text(given) == left
    assert text(text(given)) == left


INNOCENT = [
    "550e8400-e29b-41d4-a716-446655440000",
    "550e8400e29b41d4a716446655440000",
    "d41d8cd98f00b204e9800998ecf8427e",
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4",
    "2024-07-18T12:00:00.123456+00:00",
    "2024-07-18 12:00:00",
    "1721300000",
    "1721300000000",
    "1721300000000000",
    "1721300000000000000",
    "gpt-4o-mini-2024-07-18",
    "claude-3-5-sonnet-20241022",
    "claude-3-5-sonnet@20240620",
    "text-embedding-3-small",
    "meta-llama/Llama-3.1-70B-Instruct",
    "ft:gpt-4o-mini-2024-07-18:acme::9aBcDeFg",
    "chatcmpl-9aBcDeFgHiJkLmNoPqRsTuVwXyZ01",
    "call_9aBcDeFgHiJkLmNoPqRsTuVw",
    "toolu_01A09q90qw90lq917835lq9",
    "req_011CQ5mNnEpA3h1234567890",
    "thread_abc123DEF456ghi789JKL012",
    "sk-learn",
    "sk-learn-extension-package-for-intel",
    "task-oriented-dialogue-management-system",
    "risk-adjusted-return-on-capital",
    "disk-usage-of-the-main-partition-1234567",
    "pk-constraint-on-the-orders-table",
    "https://example.com/path?q=1&page=2",
    "http://localhost:8080/@scope/package",
    "https://host:443/users/@me",
    "left-pad@1.2.3",
    "@decorator",
    "a @ b",
    "git@host:path",
    "+1 (415) 555-2671",
    "+49 30 1234567",
    "order 4111 1111 1111 1112",  # one digit off a card
    "1234567890123456",
    "0.4111111111111111",
    "4111111111111111.5",
    "192.168.100.200",
    "basic authentication",
    "Basic authorization-code grants",
    "bearer authentication is required",
    "basic understanding-of-things.",
    "max_tokens: 512",
    '"max_tokens": 512, "prompt_tokens": 5, "token_count": 3',
    "max_completion_tokens=100",
    "next_token=abc",
    "eos_token: </s>",
    '"pad_token": "<pad>"',
    "Unexpected token: }",
    "Unexpected token < in JSON",
    "tokenizer=bert-base",
    "paid_tokens: 5",
    "key: value",
    '"key": "value", "keys": [1]',
    '"primary_key": "id", "foreign_key": 7',
    "monkey: banana",
    "keyword=x",
    "author: Jane",
    "authored=yes",
    "secretary: Bob",
    "passwordless: true",
    "the password must have 8 characters",
    "the secret of success",
    "password=None",
    '"api_key": null',
    "eyJ is how a JWT begins",
    "-----BEGIN CERTIFICATE-----\nMIID\n-----END CERTIFICATE-----",
    "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----",
    "",
    "x",
]


@pytest.mark.parametrize("given", INNOCENT)
def test_innocent_lookalikes_stay(text, given):
    for around in ("{}", "see {} there", '"{}"', "x: {}\n"):
        whole = around.format(given)
        assert text(whole) == whole


@pytest.mark.parametrize(
    "key",
    [
        "key",
        "keys",
        "primary_key",
        "max_tokens",
        "token_count",
        "tokens",
        "next_token",
        "author",
        "secretary",
        "monkey",
        "passwordless",
        "id",
        "name",
        "tokenizer",
        "authority",
        "keyboard",
        "cookie_policy",
        "password_length",
        "secret_count",
        "unauthorized",
    ],
)
def test_innocent_keys(key):
    assert not names_credential(key)


@pytest.mark.parametrize("given", ["4111 1111 1111 1111 123", "4111111111111111123", "5500-0000-0000-0004-123"])
def test_a_card_with_its_security_code(text, given):
    assert text(f"{given} 12/27") == f"{MARK} 12/27"


def test_a_huge_key_counts_by_its_end():
    assert names_credential("x" * 1_000_000 + "_password")
    assert not names_credential("password_" * 100_000)


# -- the user's own ---------------------------------------------------------------------------------------------


def test_patterns_of_the_user():
    redactor = Redactor(Config(redact_patterns=(re.compile("ACME-[0-9]+"), re.compile("(?i)jane"))))
    assert redactor.text("ACME-12 for Jane or jane@x.de") == f"{MARK} for {MARK} or {MARK}"


def test_without_the_built_in_set():
    redactor = Redactor(Config(redact=False, redact_patterns=(re.compile("x+"),)))
    assert redactor.text(f"sk-{BODY} xx password=1") == f"sk-{BODY} {MARK} password=1"
    assert not redactor.hides_key("password")


def test_a_callable_comes_last_and_sees_what_is_left():
    seen = []

    def mine(text):
        seen.append(text)
        return text.upper()

    redactor = Redactor(Config(redactor=mine, redact_patterns=(re.compile("ACME"),)))
    assert redactor.text(f"a sk-{BODY} ACME b") == f"A {MARK} {MARK} B"
    assert seen == [f"a {MARK} {MARK} b"]


def test_a_callable_that_fails_or_returns_no_text():
    def broken(text):
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        Redactor(Config(redactor=broken)).text("x")
    for wrong in (None, b"x", 1):
        with pytest.raises(TypeError, match=f"the redactor returned {type(wrong).__name__}, not str"):
            Redactor(Config(redactor=lambda _, wrong=wrong: wrong)).text("x")


# -- time -------------------------------------------------------------------------------------------------------

ADVERSARIAL = [
    "a",
    "a ",
    "a.",
    "a@",
    "a.@",
    "-",
    "--",
    "--a-",
    "_",
    "1",
    "4 ",
    "4111 ",
    "@",
    "://",
    "://a:",
    "a:b@",
    "sk-",
    "sk-a-",
    "sk-a",
    "sk-aA",
    "eyJ",
    "eyJaaaaaaaa.",
    "bearer ",
    "bearer a",
    "bearer a-",
    "basic A-a/",
    "-----BEGIN ",
    "-----BEGIN PRIVATE KEY",
    "-----BEGIN PRIVATE KEY-----",
    "password",
    "password ",
    "password=",
    'password="',
    "password={",
    "password=[({",
    'password=\\"',
    "\\",
    '\\"',
    "--password ",
    "--password",
    "api_",
    "api_key",
    "token:",
    '"token":',
    "secretsecret=",
    "authorization: a",
    "x=" + '"',
    " ",
    "\n",
    "SG.aaaaaaaaaaaaaaaa.",
    "%20",
    "\\u0041",
    "é",
]

PROGRAM = """
import json, sys
from spanloom.config import Config
from spanloom.redact import Redactor
redact = Redactor(Config()).text
for piece in json.load(sys.stdin):
    for text in (piece * (100_000 // len(piece)), piece * (100_000 // len(piece)) + "!", "x" + piece * 5000 + "\\n@"):
        redact(text)
print("done")
"""


@pytest.mark.slow
def test_adversarial_text_takes_no_quadratic_time():
    """The time allowed is generous by a factor of ten; a quadratic pattern would take hours."""
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(ADVERSARIAL),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "done\n", "")
