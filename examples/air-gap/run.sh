#!/usr/bin/env bash
# One whole exchange across an air gap: no connection at all, only files on a stick.
#
#     bash run.sh [FOLDER]
#
# FOLDER is made, and must be new or empty; without it everything happens in a temporary folder.
# There, `outside` is the platform's machine, `inside` the authority's, and `stick` what a courier carries.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
scratch=
leave() { if [[ -n $scratch ]]; then rm -rf "$scratch"; fi; }
trap leave EXIT

if [[ $# -gt 0 ]]; then
    mkdir -p "$1"
    cd "$1"
else
    scratch=$(mktemp -d)
    cd "$scratch"
fi
mkdir outside inside stick
cp "$here/customers.csv" outside/
cp "$here/suspects.csv" inside/

echo "1  Four parties with their keys; cards are pinned, each by twelve words."
(umask 077; head -c 24 /dev/urandom | base64 > passphrase)
export PSISHARE_PASSPHRASE_FILE=$PWD/passphrase
psishare party init --home outside/tele --id tele.example --role platform --name "Tele" >/dev/null
psishare party init --home inside/police --id police.example --role authority --name "Police" >/dev/null
psishare party init --home prosecutor --id prosecutor.example --role issuer --name "Prosecutor" >/dev/null
psishare party init --home court --id court.example --role issuer --name "Court" >/dev/null
read_out() { psishare party export --home "$1" "stick/$2.card" | tail -n 3; }
tele_words=$(read_out outside/tele tele)
police_words=$(read_out inside/police police)
prosecutor_words=$(read_out prosecutor prosecutor)
court_words=$(read_out court court)
psishare peer add stick/police.card --home outside/tele --fingerprint "$police_words"
psishare peer add stick/prosecutor.card --home outside/tele --trust issuer --fingerprint "$prosecutor_words"
psishare peer add stick/court.card --home outside/tele --trust validator --fingerprint "$court_words"
psishare peer add stick/tele.card --home inside/police --fingerprint "$tele_words"

echo
echo "2  The mandate, signed by both, travels on the stick like everything else."
echo "case 1" >case.txt
psishare mandate draft stick/case.mandate --home prosecutor --validator court.example \
    --authority police.example --platform tele.example --dataset customers --kind phone \
    --max-rows 100 --not-after "$(date -u -d '+30 days' +%F)" --jurisdiction GB \
    --legal-basis "Communications data act, section 1" \
    --purpose "to find the accounts of suspects" --case-file case.txt >/dev/null
psishare mandate sign stick/case.mandate --home prosecutor >/dev/null
psishare mandate sign stick/case.mandate --home court

echo
echo "3  Outside: the dataset is evaluated, and exported for this authority under this mandate."
psishare dataset encode customers --home outside/tele --data outside/customers.csv --key phone=number --region GB
psishare offline export customers --home outside/tele --authority police.example \
    --mandate stick/case.mandate --out stick/customers.parcel

echo
echo "4  Inside: the dataset is verified and kept; the request is written."
psishare offline sync stick/customers.parcel --home inside/police --mandate stick/case.mandate
psishare offline request --home inside/police --platform tele.example --dataset customers \
    --mandate stick/case.mandate --data inside/suspects.csv --key phone=phone --region GB \
    --out stick/request.parcel

echo
echo "5  Outside: the request is checked, logged, charged and answered. The same file again: the same bytes."
psishare offline answer stick/request.parcel --home outside/tele --dataset customers --out stick/answer.parcel
psishare offline answer stick/request.parcel --home outside/tele --dataset customers --out answer-again.parcel
cmp stick/answer.parcel answer-again.parcel

echo
echo "6  Inside: the answers are verified, and the receipt is signed. There is no result yet."
psishare offline finish stick/answer.parcel --home inside/police --out stick/receipt.parcel

echo
echo "7  A stick that was tampered with on its way is refused, and nothing is done."
# One byte near the end of the file, changed.
cp stick/receipt.parcel tampered.parcel
place=$(($(stat -c %s tampered.parcel) - 20))
byte=$(od -An -tu1 -j $place -N 1 tampered.parcel)
printf "\\x$(printf %x $((byte ^ 1)))" | dd of=tampered.parcel bs=1 seek=$place conv=notrunc status=none
if psishare offline confirm tampered.parcel --home outside/tele --dataset customers --out never.parcel; then
    echo "A changed parcel was taken."
    exit 1
else
    echo "exit code $?"
fi
[[ ! -e never.parcel ]]

echo
echo "8  Outside: the receipt is compared, logged and countersigned."
psishare offline confirm stick/receipt.parcel --home outside/tele --dataset customers --out stick/confirmation.parcel

echo
echo "9  Inside: the countersignature is verified and logged; now there is a result."
psishare offline release stick/confirmation.parcel --home inside/police --out inside/matches.csv
cmp inside/matches.csv "$here/expected.csv"

echo
echo "10  An auditor verifies both logs, with the two cards alone, and lays them side by side."
for log in outside/tele inside/police; do
    psishare audit verify "$log/log" --trust stick/tele.card --trust stick/police.card
done
psishare audit reconcile inside/police/log outside/tele/log --trust stick/tele.card --trust stick/police.card
echo
echo "All as expected."
