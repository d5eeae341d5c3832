// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// One encoded picture: an H.264 access unit in Annex-B form.
public struct EncodedFrame: Hashable, Sendable {
  /// The NAL units, each behind a start code of four bytes. A key frame carries its parameter sets.
  public let bytes: [UInt8]
  /// Whether a decoder can start here: an IDR picture.
  public let isKeyFrame: Bool

  /// Wraps an access unit.
  public init(bytes: [UInt8], isKeyFrame: Bool) {
    self.bytes = bytes
    self.isKeyFrame = isKeyFrame
  }
}

/// Encoded pictures at a constant rate; the first one is a key frame.
public struct VideoClip: Sendable {
  /// The pictures in the order of decoding, which is the order of display too; at least one.
  public let frames: [EncodedFrame]
  /// Pictures per second.
  public let frameRate: FrameRate
  /// What a person should know about the stream.
  public let warnings: [MediaWarning]

  init(frames: [EncodedFrame], frameRate: FrameRate, warnings: [MediaWarning]) {
    precondition(frames.first?.isKeyFrame == true, "a clip starts at a key frame")
    self.frames = frames
    self.frameRate = frameRate
    self.warnings = warnings
  }

  /// How long one picture is shown, rounded down to nanoseconds; ``ClipTimeline`` counts exactly.
  public var frameDuration: TimeDelta {
    TimeDelta(nanoseconds: frameRate.ticks(ofFrame: 1, perSecond: 1_000_000_000))
  }

  /// How long the clip lasts, rounded down to nanoseconds.
  public var duration: TimeDelta {
    TimeDelta(nanoseconds: frameRate.ticks(ofFrame: Int64(frames.count), perSecond: 1_000_000_000))
  }

  /// The key frame that the frame at `index` builds on: the last one at or before it.
  public func keyFrameIndex(atOrBefore index: Int) -> Int {
    frames[...index].lastIndex { $0.isKeyFrame } ?? 0
  }
}

/// Opus packets of one duration.
public struct AudioClip: Sendable {
  /// The packets in order, none of them empty; at least one.
  public let packets: [[UInt8]]
  /// How long each packet plays, in units of 1/48,000 s (RFC 7587 §4.1).
  public let packetTicks: Int
  /// 1 or 2.
  public let channelCount: Int

  init(packets: [[UInt8]], packetTicks: Int, channelCount: Int) {
    precondition(!packets.isEmpty && packetTicks > 0, "a clip holds something")
    self.packets = packets
    self.packetTicks = packetTicks
    self.channelCount = channelCount
  }

  /// How long each packet plays, rounded down to nanoseconds.
  public var packetDuration: TimeDelta { TimeDelta(nanoseconds: Int64(packetTicks) * 62_500 / 3) }

  /// How long the clip lasts, rounded down to nanoseconds.
  public var duration: TimeDelta {
    TimeDelta(nanoseconds: Int64(packets.count) * Int64(packetTicks) * 62_500 / 3)
  }

  /// A packet of the same duration that decodes to silence.
  public var silence: [UInt8] { OpusSilence.packet(ticks: packetTicks, isStereo: channelCount == 2) }
}

/// Pictures, sound, or both: what a master plays in a loop.
public struct MediaClip: Sendable {
  /// The pictures, if there are any.
  public let video: VideoClip?
  /// The sound, if there is any.
  public let audio: AudioClip?

  /// Joins pictures and sound.
  public init(video: VideoClip?, audio: AudioClip?) {
    self.video = video
    self.audio = audio
  }
}

/// Something about a stream that does not keep it from being sent, but that a person should know.
public enum MediaWarning: Hashable, Sendable, CustomStringConvertible {
  /// Slices predicted in both directions, by their number: browsers show such streams badly.
  case bFrames(Int)
  /// Pictures before the first key frame, by their number: they were left out.
  case framesBeforeFirstKeyFrame(Int)

  /// One sentence for a person.
  public var description: String {
    switch self {
    case .bFrames(let count):
      "the stream has B-frames (\(count) slices), which browsers show badly: encode it without (x264: bframes=0)"
    case .framesBeforeFirstKeyFrame(let count):
      "\(count) pictures before the first key frame were left out"
    }
  }
}
