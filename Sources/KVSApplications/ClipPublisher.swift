// SPDX-License-Identifier: Apache-2.0

import Logging
import MediaFiles
import RTP
import SansIO
import WebRTC

/// Plays a clip in real time to any number of viewers: each frame is packetised once and shared by all of them.
///
/// Deadlines come from the clip's timeline by integer arithmetic, so nothing drifts; audio and video share the
/// clock, so they stay in step. A viewer begins with the running group of pictures: a file makes no key frame on
/// demand, so the pictures since the last one are sent again, squeezed into the time of one picture, and the
/// decoder has caught up when the next one comes.
actor ClipPublisher {
  /// The largest RTP payload: a datagram of 1,200 bytes less header (12), identification (24), RTX number (2) and
  /// authentication tag (16), rounded down.
  static let maximumPayloadByteCount = 1140
  /// A process that was stopped for longer than this goes on where it was instead of catching up.
  static let lagMax = TimeDelta.milliseconds(500)
  /// Pictures of a group that are kept; a viewer of a file with rarer key frames waits for the next one.
  static let groupPicturesMax = 120
  /// One viewer's picture begins anew at most this often (threat T20).
  static let restartPauseMin = TimeDelta.milliseconds(500)

  private let broadcast = Broadcast()
  private let clip: MediaClip
  private let packetizer = H264Packetizer(maximumPayloadByteCount: maximumPayloadByteCount)
  private let opus = OpusPacketizer()
  private let logger: Logger
  /// The pictures since the last key frame, that one first.
  private var group: [PacketizedFrame] = []
  /// When each viewer may have its picture begin anew.
  private var viewers: [ObjectIdentifier: Instant] = [:]

  init(clip: MediaClip, logger: Logger) {
    self.clip = clip
    self.logger = logger
  }

  /// Plays until the task is cancelled.
  func run() async {
    var clock = LoopClock(clip: clip, start: NetworkClock.now)
    while !Task.isCancelled, let deadline = clock.nextDeadline {
      let wait = deadline - NetworkClock.now
      if wait > .zero {
        do { try await Task.sleep(for: Duration(wait)) } catch { return }
      } else if wait < .zero - Self.lagMax {
        logger.notice("the process was held up for \(.zero - wait); media goes on from here")
        group.removeAll()
        clock.skip(to: NetworkClock.now)
        continue
      }
      switch clock.next() {
      case .video(let slot): publish(slot)
      case .audio(let slot): publish(slot)
      case nil: return
      }
    }
  }

  private func publish(_ slot: ClipTimeline.AudioSlot) {
    guard !viewers.isEmpty, let audio = clip.audio else { return }
    let packet = slot.packetIndex.map { audio.packets[$0] } ?? audio.silence
    broadcast.send(
      opus.packetize(packet: packet, timestamp: slot.timestamp, captureTime: slot.deadline), track: .audio)
  }

  private func publish(_ slot: ClipTimeline.VideoSlot) {
    guard let video = clip.video,
      let frame = packetizer.packetize(
        annexB: video.frames[slot.frameIndex].bytes, timestamp: slot.timestamp, captureTime: slot.deadline)
    else { return }
    if frame.isKeyFrame { group.removeAll(keepingCapacity: true) }
    if frame.isKeyFrame || (!group.isEmpty && group.count < Self.groupPicturesMax) { group.append(frame) }
    if !viewers.isEmpty { broadcast.send(frame, track: .video) }
  }

  // MARK: Viewers

  /// Adds a connected viewer; its picture begins at once.
  func join(_ connection: PeerConnection, _ transceivers: [Broadcast.Track: Transceiver]) -> Broadcast.Member
  {
    let member = broadcast.add(connection, transceivers)
    viewers[ObjectIdentifier(member)] = .zero
    restart(member)
    return member
  }

  /// Removes a viewer.
  func leave(_ member: Broadcast.Member) {
    viewers[ObjectIdentifier(member)] = nil
    broadcast.remove(member)
  }

  /// Sends a viewer the running group again, from its key frame; not twice within one picture, for both would
  /// get the same times.
  func restart(_ member: Broadcast.Member) {
    let now = NetworkClock.now
    guard let last = group.last, group.count < Self.groupPicturesMax,
      let earliest = viewers[ObjectIdentifier(member)], earliest <= now
    else { return }
    viewers[ObjectIdentifier(member)] = now + max(Self.restartPauseMin, frameDuration)
    broadcast.send(squeezed(group, after: last), track: .video, to: member)
  }

  private var frameDuration: TimeDelta { clip.video?.frameDuration ?? .milliseconds(40) }

  /// The group with new times: spread over the time between its last picture and the next, so that neither the
  /// RTP clock goes back nor a delay is left behind.
  private func squeezed(_ group: [PacketizedFrame], after last: PacketizedFrame) -> [PacketizedFrame] {
    let step = frameDuration / Int64(group.count + 1)
    return group.enumerated().map { index, frame in
      let delta = step * Int64(index + 1)
      let units = RTPTimestamp.units(in: delta, clockRateHertz: 90_000)
      return PacketizedFrame(
        bytes: frame.bytes, packets: frame.packets,
        timestamp: last.timestamp &+ UInt32(truncatingIfNeeded: units), isKeyFrame: frame.isKeyFrame,
        captureTime: last.captureTime + delta, marksLastPacket: frame.marksLastPacket)
    }
  }
}
