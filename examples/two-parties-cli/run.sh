#!/usr/bin/env bash
# One whole exchange on the command line: four parties, one mandate, two files, two verified logs.
#
#     bash run.sh [FOLDER]
#
# FOLDER is made, and must be new or empty; without it everything happens in a temporary folder.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
serving=
scratch=

leave() {
    if [[ -n $serving ]]; then kill "$serving" 2>/dev/null && wait "$serving" || true; fi
    if [[ -n $scratch ]]; then rm -rf "$scratch"; fi
}
trap leave EXIT

if [[ $# -gt 0 ]]; then
    mkdir -p "$1"
    cd "$1"
else
    scratch=$(mktemp -d)
    cd "$scratch"
fi

echo "1  Four parties: each makes its keys, its card and, where it exchanges, its log."
# The keys are encrypted. A person would be asked for the passphrase; a script names a file that holds it.
(umask 077; head -c 24 /dev/urandom | base64 > passphrase)
export PSISHARE_PASSPHRASE_FILE=$PWD/passphrase
psishare party init --home tele --id tele.example --role platform --name "Tele"
psishare party init --home police --id police.example --role authority --name "Police" >/dev/null
psishare party init --home prosecutor --id prosecutor.example --role issuer --name "Prosecutor" >/dev/null
psishare party init --home court --id court.example --role issuer --name "Court" >/dev/null

echo
echo "2  Cards are exchanged and pinned, each by twelve words that its owner reads out."
# Here one machine plays all four, so that the owner's voice is its own export's last three lines.
read_out() { psishare party export --home "$1" "$1.card" | tail -n 3; }
police_words=$(read_out police)
prosecutor_words=$(read_out prosecutor)
court_words=$(read_out court)
tele_words=$(read_out tele)
psishare peer add police.card --home tele --fingerprint "$police_words"
psishare peer add prosecutor.card --home tele --trust issuer --fingerprint "$prosecutor_words"
psishare peer add court.card --home tele --trust validator --fingerprint "$court_words"
psishare peer add tele.card --home police --fingerprint "$tele_words"

echo
echo "3  The prosecutor drafts a mandate and signs it; the court signs it; the platform verifies it."
echo "case 1" >case.txt
psishare mandate draft case.mandate --home prosecutor --validator court.example \
    --authority police.example --platform tele.example --dataset customers --kind phone \
    --max-rows 100 --not-after "$(date -u -d '+30 days' +%F)" --jurisdiction GB \
    --legal-basis "Communications data act, section 1" \
    --purpose "to find the accounts of suspects" --case-file case.txt
psishare mandate sign case.mandate --home prosecutor
psishare mandate sign case.mandate --home court
psishare mandate verify case.mandate --home tele

echo
echo "4  The platform evaluates its customers once, under a key that never leaves it."
psishare dataset encode customers --home tele --data "$here/customers.csv" --key phone=number --region GB

echo
echo "5  The platform serves; the authority asks."
mkfifo ready
psishare serve --home tele --listen 127.0.0.1:0 --dataset customers >ready &
serving=$!
read -r _ _ address <ready
psishare match --home police --platform tele.example --address "$address" --dataset customers \
    --mandate case.mandate --data "$here/suspects.csv" --key phone=phone --region GB --out matches.csv
kill "$serving"
wait "$serving"
serving=

echo
echo "6  What the authority has learned, and nothing else:"
cat matches.csv
cmp matches.csv "$here/expected.csv"

echo
echo "7  The exchange, as each party knows it."
psishare exchange list --home police
psishare exchange list --home tele
id=$(psishare exchange list --home police | tail -n 1 | cut -d ' ' -f 1)
psishare exchange show "$id" --home police

echo
echo "8  An auditor verifies both logs, with the two cards alone."
for log in tele police; do
    psishare audit verify "$log/log" --trust tele.card --trust police.card
done
echo
echo "All as expected."
