"""Names that are never sent, and the lines that send them."""

import pytest

from sweeps.jobs.ignoring import Ignored, line_for

SECRETS = """
    id_rsa ID_RSA id_rsa.old id_ed25519 id_ecdsa_sk deploy_ed25519 server.key Server.KEY prod.pem
    a.p12 a.pfx a.ppk a.jks a.keystore a.kdbx a.asc a.gpg .netrc _netrc .pgpass .git-credentials
    .npmrc .pypirc .htpasswd credentials credentials.json my-credentials.json
    service-account-7.json application_default_credentials.json client_secret_1.json kubeconfig
    dev.kubeconfig secrets.yaml prod.tfvars terraform.tfstate terraform.tfstate.backup hf_token
    HF_TOKEN token auth_token my.token .env .env.local prod.env .envrc .bash_history zsh_history
    .aws/config .ssh/known_hosts .git/HEAD .hg/store .svn/x .venv/a.py venv/a.py ENV/a.py
    node_modules/a.js __pycache__/a.pyc a.egg-info/x miniconda3/x sweep-results/tracking.db
    deep/.cache/a.png deep/down/id_rsa
"""
ORDINARY = """
    Flickr8k.token.txt tokenizer.json tokenizer_config.json special_tokens_map.json a.png
    images/keyboard.jpg environment/a.png env.png monkey.key.png config.json model.safetensors
    captions.csv history.csv credential.png venv.txt public/rsa.txt
    screens/password-reset.png secret.png credentials.jpg id_rsa_photo.JPG .huggingface.yaml
"""


def ignored(folder, own="", git=""):
    (folder / ".sweepsignore").write_text(own)
    (folder / ".gitignore").write_text(git)
    return Ignored(folder)


@pytest.mark.parametrize("path", SECRETS.split())
def test_a_name_that_may_hold_a_secret_stays_until_a_line_names_it(folder, path):
    rule = ignored(folder).rule(path)
    assert rule is not None
    assert "a name that is never sent" in str(rule)
    wide = "!*\n!**\n!*.*\n!**/*.*\n!/deep/\n!*.json\n!*_token\n!.*\n!*.pem\n"
    assert ignored(folder, wide, wide).rule(path) is not None
    assert ignored(folder, f"{line_for(path)}\n").rule(path) is None
    assert str(ignored(folder, f"{line_for(path)}\n").allowed(path)).endswith("(.sweepsignore:1)")


@pytest.mark.parametrize("path", ORDINARY.split())
def test_what_people_train_on_is_sent(folder, path):
    assert ignored(folder).rule(path) is None
    assert ignored(folder, f"{line_for(path)}\n").allowed(path) is None


def test_the_fix_of_a_rule_lifts_it_and_no_other(folder):
    rule = ignored(folder).rule(".aws/credentials")
    assert rule.fix == "!/.aws/"
    second = ignored(folder, f"{rule.fix}\n").rule(".aws/credentials")
    assert second.fix == "!/.aws/credentials"
    assert ignored(folder, f"{rule.fix}\n{second.fix}\n").rule(".aws/credentials") is None
    assert ignored(folder, f"{rule.fix}\n").rule(".aws/config") is None


def test_a_line_of_git_lifts_no_secret_and_a_line_of_ours_what_git_leaves_alone(folder):
    assert ignored(folder, git="!/prod.env\n").rule("prod.env") is not None
    assert ignored(folder, git="\n*.raw\n").rule("a.raw").fix == "!*.raw"
    assert ignored(folder, "!*.raw\n", "*.raw\n").rule("a.raw") is None
    assert ignored(folder, "!/a.pem\n/a.pem\n").rule("a.pem") is not None


def test_names_with_special_characters_are_meant_as_they_are(folder):
    path = "odd [1]*/my ?.pem"
    assert ignored(folder, f"{line_for(path)}\n").rule(path) is None
    assert ignored(folder, f"{line_for(path)}\n").rule("odd 1x/my a.pem") is not None
