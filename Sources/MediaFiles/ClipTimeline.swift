// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// When each picture and each packet of sound of a looped clip is due, and with which RTP timestamp.
///
/// Slots are numbered from 0 and go on for ever. A slot's time is computed from its number by integer
/// arithmetic, never by adding up, so nothing drifts: hour 1,000 is as exact as second 1. Timestamps go on
/// over the end of the loop without a jump.
///
/// **Loops of different lengths.** Pictures and sound start over together, at the length of the video. Sound
/// has a clock of its own that never stops: each audio slot plays the packet that belongs to that moment of
/// the loop. So longer sound is cut at the end of the video, shorter sound is followed by silence, and where
/// the video's length is no whole number of packets, sound is off by less than one packet and never adds up.
/// Sound alone loops at its own length.
public struct ClipTimeline: Hashable, Sendable {
  /// One picture.
  public struct VideoSlot: Hashable, Sendable {
    /// The slot's number, from 0 on.
    public let index: Int64
    /// Which of the clip's pictures to send.
    public let frameIndex: Int
    /// When to send it.
    public let deadline: Instant
    /// Time since the start in units of 1/90,000 s, modulo 2^32.
    public let timestamp: UInt32
  }

  /// One packet of sound.
  public struct AudioSlot: Hashable, Sendable {
    /// The slot's number, from 0 on.
    public let index: Int64
    /// Which of the clip's packets to send; `nil` for silence.
    public let packetIndex: Int?
    /// When to send it.
    public let deadline: Instant
    /// Time since the start in units of 1/48,000 s, modulo 2^32.
    public let timestamp: UInt32
  }

  /// The RTP clock of H.264 (RFC 6184 §8.2.1).
  public static let videoClockRateHertz: Int64 = 90_000
  /// The RTP clock of Opus (RFC 7587 §4.1).
  public static let audioClockRateHertz: Int64 = 48_000

  /// When slot 0 is due.
  public let start: Instant
  private let frameRate: FrameRate
  private let frameCount: Int
  private let packetTicks: Int64
  private let packetCount: Int

  /// Lays a clip on the time from `start` on.
  public init(clip: MediaClip, start: Instant) {
    self.init(
      start: start, frameRate: clip.video?.frameRate ?? .standard, frameCount: clip.video?.frames.count ?? 0,
      packetTicks: clip.audio?.packetTicks ?? 960, packetCount: clip.audio?.packets.count ?? 0)
  }

  /// - Parameters:
  ///   - start: when slot 0 is due.
  ///   - frameRate: of the video.
  ///   - frameCount: pictures in the loop; 0 without video.
  ///   - packetTicks: length of a packet in units of 1/48,000 s; 1 to 5,760.
  ///   - packetCount: packets of sound in the clip; 0 without audio.
  init(start: Instant, frameRate: FrameRate, frameCount: Int, packetTicks: Int, packetCount: Int) {
    precondition(frameCount >= 0 && packetCount >= 0 && (1...5760).contains(packetTicks), "no such clip")
    self.start = start
    self.frameRate = frameRate
    self.frameCount = frameCount
    self.packetTicks = Int64(packetTicks)
    self.packetCount = packetCount
  }

  /// Whether there are pictures.
  public var hasVideo: Bool { frameCount > 0 }
  /// Whether there is sound.
  public var hasAudio: Bool { packetCount > 0 }

  /// The picture slot with this number, 0 or more. Only for a clip with pictures.
  public func video(at index: Int64) -> VideoSlot {
    precondition(hasVideo && index >= 0, "no such slot")
    return VideoSlot(
      index: index, frameIndex: Int(index % Int64(frameCount)),
      deadline: start + TimeDelta(nanoseconds: frameRate.ticks(ofFrame: index, perSecond: 1_000_000_000)),
      timestamp: UInt32(
        truncatingIfNeeded: frameRate.ticks(ofFrame: index, perSecond: Self.videoClockRateHertz)))
  }

  /// The sound slot with this number, 0 or more. Only for a clip with sound.
  public func audio(at index: Int64) -> AudioSlot {
    precondition(hasAudio && index >= 0, "no such slot")
    let ticks = index * packetTicks
    return AudioSlot(
      index: index, packetIndex: packetIndex(atSlot: index),
      // 10^9 / 48,000 = 62,500 / 3.
      deadline: start + TimeDelta(nanoseconds: ticks / 3 * 62_500 + ticks % 3 * 62_500 / 3),
      timestamp: UInt32(truncatingIfNeeded: ticks))
  }

  /// The packet that belongs to the moment of the loop at which the slot begins.
  private func packetIndex(atSlot index: Int64) -> Int? {
    guard hasVideo else { return Int(index % Int64(packetCount)) }
    // The loop's length in units of 1 / (48,000 x numerator) s is a whole number.
    let loop = UInt64(frameCount) * UInt64(frameRate.denominator) * UInt64(Self.audioClockRateHertz)
    let rate = UInt64(frameRate.numerator)
    // Reduced first, so that the quotient below is less than `rate` and fits.
    let ticks = UInt64(index * packetTicks) % loop
    let moment = loop.dividingFullWidth(ticks.multipliedFullWidth(by: rate)).remainder
    let packet = moment / (rate * UInt64(packetTicks))
    return packet < UInt64(packetCount) ? Int(packet) : nil
  }

  /// The first picture slot that is due at `instant` or later.
  public func firstVideoIndex(notBefore instant: Instant) -> Int64 {
    Self.firstIndex(notBefore: instant) { video(at: $0).deadline }
  }

  /// The first sound slot that is due at `instant` or later.
  public func firstAudioIndex(notBefore instant: Instant) -> Int64 {
    Self.firstIndex(notBefore: instant) { audio(at: $0).deadline }
  }

  /// Doubles until it is past, then halves: deadlines grow with the index.
  private static func firstIndex(notBefore instant: Instant, deadline: (Int64) -> Instant) -> Int64 {
    var low: Int64 = 0
    var high: Int64 = 1
    while deadline(high) < instant { high *= 2 }
    while low < high {
      let middle = (low + high) / 2
      if deadline(middle) < instant { low = middle + 1 } else { high = middle }
    }
    return low
  }
}
