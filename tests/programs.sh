#!/bin/sh
# Installs the programs that tests need besides Python: a browser, LaTeX, pdftoppm, and Slurm, whose
# services stay off: tests start clusters of their own. Debian and Ubuntu only, as root or by sudo
# without a password; elsewhere the tests that need one say so.
set -eu
PATH="$PATH:/usr/sbin"
missing=""
need() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }
need chromium chromium
need pdftoppm poppler-utils
need slurmctld slurm-wlm
need munged munge
need pdflatex "texlive-latex-base texlive-latex-recommended lmodern"
if command -v kpsewhich >/dev/null 2>&1; then
    kpsewhich siunitx.sty >/dev/null || missing="$missing texlive-science"
else
    missing="$missing texlive-science"
fi
[ -n "$missing" ] || exit 0
command -v apt-get >/dev/null 2>&1 || { echo "missing programs:$missing" >&2; exit 0; }
as_root=""
[ "$(id -u)" = 0 ] || as_root="sudo -n"
$as_root apt-get update -q >/dev/null &&
    DEBIAN_FRONTEND=noninteractive $as_root apt-get install -q -y --no-install-recommends $missing \
        >/dev/null || echo "not installed:$missing" >&2
case "$missing" in *munge*)
    $as_root systemctl disable --quiet --now munge slurmctld slurmd >/dev/null 2>&1 || true
esac
