// SPDX-License-Identifier: Apache-2.0

#include "CSampleClip.h"

#pragma clang diagnostic ignored "-Wc23-extensions"

static const uint8_t video[] = {
#embed "assets/sample.h264"
};

static const uint8_t audio[] = {
#embed "assets/sample.opus"
};

const uint8_t *csc_video_bytes(void) { return video; }

size_t csc_video_byte_count(void) { return sizeof(video); }

const uint8_t *csc_audio_bytes(void) { return audio; }

size_t csc_audio_byte_count(void) { return sizeof(audio); }
