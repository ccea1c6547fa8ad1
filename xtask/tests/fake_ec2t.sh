#!/bin/sh
# Stands in for `ec2t` in the tests of the pipeline. Notes its arguments in
# RUN/calls.log and writes the files that the real command would write.
#
# FAKE_FAIL=WORD  the command WORD ends with exit code 3
# FAKE_HANG=WORD  the command WORD notes its process in RUN/hanging and waits for
#                 SIGINT; then it saves last.safetensors and ends with exit code
#                 130, or, if FAKE_FINISH is set, does its work and ends well
set -eu

command=$1
calls=$*
while [ "$1" != --run-dir ]; do shift; done
run=$2
echo "$calls" >>"$run/calls.log"

write() { # FILE TEXT
    mkdir -p "$(dirname "$run/$1")"
    echo "$2" >"$run/$1"
}

# The value of a key of a section of the run's settings.
setting() { # SECTION KEY
    sed -n "/^\[$1\]/,/^\[/ s/^$2 = //p" "$run/config.toml"
}

[ "${FAKE_FAIL:-}" != "$command" ] || exit 3
if [ "${FAKE_HANG:-}" = "$command" ]; then
    interrupted=
    trap interrupted=yes INT
    write hanging $$
    until [ "$interrupted" ]; do sleep 0.05 || true; done
    sleep 0.2
    if [ -z "${FAKE_FINISH:-}" ]; then
        write pretrain/last.safetensors unfinished
        exit 130
    fi
fi

case $command in
data) write data.json "$(setting data validation) images" ;;
scale) write arch.json "$(setting arch name)" ;;
train) write pretrain/best.safetensors "lr $(setting pretrain lr)" ;;
ternarize) write ternarize/best.safetensors "ternary $(cat "$run/pretrain/best.safetensors")" ;;
finetune) write finetune/best.safetensors "tuned $(cat "$run/ternarize/best.safetensors")" ;;
export) write model.ec2t "$(setting export side)" ;;
eval) write eval.json "{}" ;;
report) write report.json "{}" && write report.html "<html>" && write MODEL_CARD.md "---" ;;
esac
