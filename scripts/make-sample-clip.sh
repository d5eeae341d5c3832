#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Makes the sample clip that the demo streams and the tests count:
#
#   Sources/CSampleClip/assets/sample.h264   500 pictures, 1280x720, 25 fps, H.264 constrained baseline, Annex-B
#   Sources/CSampleClip/assets/sample.opus   1,000 Opus packets of 20 ms, 48 kHz stereo, in Ogg
#
# Both last exactly 20 s and are periodic, picture and sound, so that they loop without a jump or a click. The files
# are committed: this script is needed only to change them. It wants ffmpeg (with libx264 and libopus), python3 and the
# DejaVu fonts: apt-get install ffmpeg python3 fonts-dejavu-core
set -euo pipefail
cd "$(dirname "$0")/.."

assets=Sources/CSampleClip/assets
seconds=20
rate=25
font=/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf
mono=/usr/share/fonts/truetype/dejavu/DejaVuSansMono-Bold.ttf
for tool in ffmpeg python3; do
  command -v "$tool" >/dev/null || { echo "$0: $tool is missing" >&2; exit 69; }
done
for file in "$font" "$mono"; do
  [ -r "$file" ] || { echo "$0: $file is missing: install fonts-dejavu-core" >&2; exit 69; }
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$assets"

# The picture. Slow waves of colour with a period of 20 s, drawn small and enlarged; a disc that goes round once in
# 5 s; a lamp that lights for the first three pictures of every second, together with the beep; a line that grows over
# the 20 s; the running time and the picture's number.
waves="geq=r='58+30*sin(X/41+2*PI*T/20)+22*sin(Y/29-2*PI*T/10)'"
waves+=":g='58+34*sin(X/57-2*PI*T/20+1)+24*sin((X+Y)/47+2*PI*T/10)'"
waves+=":b='104+44*sin(Y/37+2*PI*T/20+2)+34*sin((X-Y)/61-2*PI*T/10)'"
disc="geq=r=255:g=214:b=132:a='255*clip((62-hypot(X-64,Y-64))/2,0,1)'"
lamp="geq=r=255:g=255:b=255:a='235*clip((22-hypot(X-24,Y-24))/2,0,1)'"
ring="geq=r=255:g=255:b=255:a='120*clip((2-abs(22-hypot(X-24,Y-24))),0,1)'"

ffmpeg -hide_banner -loglevel error -y \
  -f lavfi -i "color=black:s=256x144:r=$rate:d=$seconds,format=gbrp,$waves,scale=1280:720:flags=bicubic,format=gbrp" \
  -f lavfi -i "color=black:s=128x128:r=$rate:d=0.04,format=rgba,$disc,loop=-1:1" \
  -f lavfi -i "color=black:s=48x48:r=$rate:d=0.04,format=rgba,$lamp,loop=-1:1" \
  -f lavfi -i "color=black:s=48x48:r=$rate:d=0.04,format=rgba,$ring,loop=-1:1" \
  -f lavfi -i "color=white:s=1280x8:r=$rate:d=0.04,loop=-1:1" \
  -filter_complex "
    [0][1]overlay=x='576+400*sin(2*PI*t/5)':y='296-190*cos(2*PI*t/5)':format=gbrp[a];
    [a][3]overlay=x=1180:y=52:format=gbrp[b];
    [b][2]overlay=x=1180:y=52:format=gbrp:enable='lt(mod(n,$rate),3)'[c];
    [c][4]overlay=x='-1280+1280*(n+1)/($seconds*$rate)':y=712:format=gbrp[d];
    [d]drawtext=fontfile=$mono:text='%{pts\:hms}':fontsize=92:fontcolor=white:x=(w-text_w)/2:y=318:shadowcolor=black@0.45:shadowx=3:shadowy=3,
       drawtext=fontfile=$font:text='swift-kvs-webrtc':fontsize=34:fontcolor=white@0.92:x=56:y=56,
       drawtext=fontfile=$font:text='sample clip · 1280×720 · $rate fps · picture %{eif\:n+1\:d\:3} of $((seconds * rate))':fontsize=24:fontcolor=white@0.78:x=56:y=650,
       scale=out_color_matrix=bt709:out_range=tv,format=yuv420p" \
  -frames:v $((seconds * rate)) -an \
  -c:v libx264 -profile:v baseline -level:v 3.1 -preset slower -crf 26 -maxrate 1000k -bufsize 1000k \
  -x264-params "slices=1:threads=1:sliced-threads=0:keyint=$rate:min-keyint=$rate:scenecut=0:bframes=0:ref=1:repeat-headers=1:deblock=1,1:aq-mode=2" \
  -colorspace bt709 -color_primaries bt709 -color_trc bt709 -color_range tv \
  -flags:v +bitexact -bsf:v filter_units=remove_types=6 -f h264 "$work/sample.h264"

# The sound. A soft chord and a beep in every second (a higher one in every fifth). All frequencies are whole numbers
# of cycles in a second, so the signal repeats exactly. Three rounds are encoded and the middle one is kept: its first
# packet continues its last one, in the encoder's state too.
beep="exp(-14*mod(t,1))*(1-exp(-400*mod(t,1)))*if(lt(mod(t,5),1),sin(2*PI*1320*t),sin(2*PI*880*t))"
chord="(0.5+0.5*sin(2*PI*t/4))*sin(2*PI*220*t)+(0.5-0.5*sin(2*PI*t/4))*sin(2*PI*330*t)+0.6*sin(2*PI*165*t)"
ffmpeg -hide_banner -loglevel error -y \
  -f lavfi -i "aevalsrc='0.30*$beep+0.045*($chord)|0.30*$beep+0.045*($chord)+0.02*sin(2*PI*440*t)*sin(2*PI*t/10)':s=48000:d=$((3 * seconds))" \
  -c:a libopus -b:a 64k -vbr on -application audio -frame_duration 20 -fflags +bitexact -flags:a +bitexact \
  -page_duration 20000 -f ogg "$work/rounds.opus"
python3 scripts/check-sample-clip.py cut "$work/rounds.opus" "$work/sample.opus" $((seconds * 50)) $((seconds * 50))

python3 scripts/check-sample-clip.py check "$work/sample.h264" "$work/sample.opus" $((seconds * rate)) $((seconds * 50))
mv "$work/sample.h264" "$work/sample.opus" "$assets/"
ls -l "$assets"
