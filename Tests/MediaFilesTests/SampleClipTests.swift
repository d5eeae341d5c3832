// SPDX-License-Identifier: Apache-2.0

import MediaFiles
import RTP
import SansIO
import Testing

@Suite("Sample clip")
struct SampleClipTests {
  @Test("It has 500 pictures and 1,000 packets, both 20 s long")
  func counts() {
    #expect(SampleClip.video.frames.count == 500)
    #expect(SampleClip.audio.packets.count == 1000)
    #expect(SampleClip.video.duration == .seconds(20))
    #expect(SampleClip.audio.duration == .seconds(20))
    #expect(SampleClip.video.frameDuration == .milliseconds(40))
    #expect(SampleClip.audio.packetDuration == .milliseconds(20))
    #expect(SampleClip.audio.channelCount == 2)
    #expect(SampleClip.video.warnings.isEmpty)
  }

  @Test("Every 25th picture is a key frame with SPS and PPS, and no other")
  func keyFrames() {
    for (index, frame) in SampleClip.video.frames.enumerated() {
      let types = AnnexB.nalUnits(in: frame.bytes.rawSpan).map { frame.bytes[$0.lowerBound] & 0x1f }
      #expect(frame.isKeyFrame == (index % 25 == 0))
      #expect(types == (index % 25 == 0 ? [7, 8, 5] : [1]), "one slice a picture")
    }
    #expect(SampleClip.video.keyFrameIndex(atOrBefore: 49) == 25)
    #expect(SampleClip.video.keyFrameIndex(atOrBefore: 0) == 0)
  }

  @Test("It is constrained baseline, level 3.1")
  func profile() throws {
    let key = SampleClip.video.frames[0].bytes
    let sps = try #require(AnnexB.nalUnits(in: key.rawSpan).first)
    #expect(key[sps.lowerBound + 1] == 66)
    #expect(key[sps.lowerBound + 2] & 0xc0 == 0xc0)
    #expect(key[sps.lowerBound + 3] == 31)
  }

  @Test("Each packet of sound is one stereo frame of 20 ms and fits a datagram")
  func packets() {
    for packet in SampleClip.audio.packets {
      #expect(packet[0] & 0x07 == 0x04)
      #expect(packet.count <= 1200)
    }
  }
}
