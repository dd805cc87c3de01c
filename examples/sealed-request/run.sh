#!/usr/bin/env bash
# A court approves one list, element for element; the platform evaluates nothing else. Four parties.
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

# Run a command that must be refused: with this exit code, and this reason.
refused() {
    local code=$1 reason=$2 found=0
    shift 2
    "$@" >refusal 2>&1 || found=$?
    cat refusal
    if [[ $found != "$code" ]] || ! grep -q "\[$reason\]" refusal; then
        echo "Not refused as it should have been: exit code $found instead of $code."
        exit 1
    fi
}

if [[ $# -gt 0 ]]; then
    mkdir -p "$1"
    cd "$1"
else
    scratch=$(mktemp -d)
    cd "$scratch"
fi

echo "1  A platform, an authority, a prosecutor and a court, each with keys of its own."
(umask 077; head -c 24 /dev/urandom | base64 > passphrase)
export PSISHARE_PASSPHRASE_FILE=$PWD/passphrase
psishare party init --home tele --id tele.example --role platform --name "Tele" >/dev/null
psishare party init --home police --id police.example --role authority --name "Police" >/dev/null
psishare party init --home prosecutor --id prosecutor.example --role issuer --name "Prosecutor" >/dev/null
psishare party init --home court --id court.example --role issuer --name "Court" >/dev/null
# Here one machine plays all four, so that the owner's voice is its own export's last three lines.
read_out() { psishare party export --home "$1" "$1.card" | tail -n 3; }
police_words=$(read_out police)
prosecutor_words=$(read_out prosecutor)
court_words=$(read_out court)
tele_words=$(read_out tele)
psishare peer add police.card --home tele --fingerprint "$police_words" >/dev/null
psishare peer add prosecutor.card --home tele --trust issuer --fingerprint "$prosecutor_words" >/dev/null
psishare peer add court.card --home tele --trust validator --fingerprint "$court_words" >/dev/null
psishare peer add tele.card --home police --fingerprint "$tele_words" >/dev/null
psishare dataset encode customers --home tele --data "$here/customers.csv" --key phone=number --region GB

echo
echo "2  The police blind their list in advance. The court alone can open it."
psishare mandate request case.request --home police --platform tele.example --dataset customers \
    --data "$here/suspects.csv" --key phone=phone --region GB --for court.card

echo
echo "3  The prosecutor drafts a mandate for this list, and signs. Without the list's seed it cannot read it."
echo "case 1" >case.txt
psishare mandate draft case.mandate --home prosecutor --validator court.example --validator-role judge \
    --request case.request --max-exchanges 3 --not-after "$(date -u -d '+30 days' +%F)" \
    --jurisdiction GB --legal-basis "Communications data act, section 1" \
    --purpose "to find the accounts of suspects" --case-file case.txt
psishare mandate sign case.mandate --home prosecutor

echo
echo "4  The court cannot sign unseen. It computes every element again, reads the list, and signs."
refused 4 request_unseen psishare mandate sign case.mandate --home court
psishare mandate sign case.mandate --home court --request case.request --list-to list.txt
echo "What the court has read:"
cat list.txt
rm list.txt

echo
echo "5  The platform checks every frame; the police ask what was approved."
mkfifo ready
psishare serve --home tele --listen 127.0.0.1:0 --dataset customers >ready &
serving=$!
read -r _ _ address <ready
ask() {
    psishare match --home police --platform tele.example --address "$address" --dataset customers \
        --mandate case.mandate --data "$1" --key phone=phone --region GB --out "$2"
}
ask "$here/suspects.csv" matches.csv
cat matches.csv
cmp matches.csv "$here/expected.csv"

echo
echo "6  One more number on the list: refused before anything is sent, and there is no result."
{ cat "$here/suspects.csv"; echo "s-99,+44 7700 900006,a neighbour"; } >more.csv
refused 4 list_not_approved ask more.csv neighbour.csv
[[ ! -e neighbour.csv ]]

echo
echo "7  The prosecutor withdraws the mandate. The running platform heeds it at once."
psishare mandate revoke withdrawn.list --home prosecutor --mandate case.mandate
psishare mandate import withdrawn.list --home tele
refused 5 mandate_revoked ask "$here/suspects.csv" again.csv
[[ ! -e again.csv ]]
kill "$serving"
wait "$serving"
serving=

echo
echo "8  An auditor holds both logs against the mandate: what was asked is what the court approved."
for log in tele police; do
    psishare audit verify "$log/log" --mandate case.mandate --trust tele.card --trust police.card \
        --trust prosecutor.card --trust court.card
done
echo
echo "All as expected."
