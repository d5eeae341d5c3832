// SPDX-License-Identifier: Apache-2.0

#ifndef CSAMPLECLIP_H
#define CSAMPLECLIP_H

#include <stddef.h>
#include <stdint.h>

// The sample clip inside the program: 20 s of picture and sound that loop without a jump.
// The memory is constant, lives as long as the process and may be read from any thread.

/// The H.264 Annex-B byte stream: 500 pictures, 25 a second, one key frame a second.
const uint8_t *csc_video_bytes(void);

/// The length of the byte stream in bytes.
size_t csc_video_byte_count(void);

/// The Ogg Opus file: 1,000 packets of 20 ms, 48 kHz stereo.
const uint8_t *csc_audio_bytes(void);

/// The length of the Ogg file in bytes.
size_t csc_audio_byte_count(void);

#endif
