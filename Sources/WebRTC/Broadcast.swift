// SPDX-License-Identifier: Apache-2.0

public import RTP
import SDP
import SansIO
import Synchronization
import WebRTCCore

/// One encoder, many viewers: a frame is packetised once and sent to all members.
///
/// Each frame costs one hop to each network loop, whatever the number of its members. A member's video begins
/// at a key frame once its connection stands, and again after an interruption. A member whose connection has
/// ended leaves by itself.
public final class Broadcast: Sendable {
  /// One of the tracks that a broadcast carries, `video` and `audio` for the usual two.
  public struct Track: RawRepresentable, Hashable, Sendable {
    /// The application's name for it.
    public let rawValue: String
    /// Names a track.
    public init(rawValue: String) { self.rawValue = rawValue }
    /// The picture.
    public static let video = Track(rawValue: "video")
    /// The sound.
    public static let audio = Track(rawValue: "audio")
  }

  /// One viewer of a broadcast.
  public final class Member: Sendable {
    let subscriptions: [Track: Transceiver]
    let group: LoopConfined<BroadcastGroup>
    let handle: ConnectionHandle

    init(_ handle: ConnectionHandle, subscriptions: [Track: Transceiver], group: LoopConfined<BroadcastGroup>)
    {
      self.handle = handle
      self.subscriptions = subscriptions
      self.group = group
    }
  }

  private struct Group: Sendable {
    let loop: NetworkLoop
    let members: LoopConfined<BroadcastGroup>
  }

  private let groups = Mutex<[ObjectIdentifier: Group]>([:])

  /// Makes a broadcast without members.
  public init() {}

  /// Members that were never removed go with the broadcast.
  deinit {
    for group in groups.withLock({ Array($0.values) }) {
      group.loop.post { _, _ in group.members.value.removeAll() }
    }
  }

  /// Adds a connection with its transceivers, one for each track that it is to get.
  public func add(_ connection: PeerConnection, _ transceivers: [Track: Transceiver]) -> Member {
    let loop = connection.handle.loop
    let group = groups.withLock { groups in
      let known = groups[ObjectIdentifier(loop)]
      let group = known ?? Group(loop: loop, members: LoopConfined(BroadcastGroup(), to: loop.eventLoop))
      groups[ObjectIdentifier(loop)] = group
      return group
    }
    let member = Member(connection.handle, subscriptions: transceivers, group: group.members)
    loop.post { _, _ in group.members.value.add(member) }
    return member
  }

  /// Takes a member out; frames sent from here on do not reach it.
  public func remove(_ member: Member) {
    let group = member.group
    member.handle.loop.post { _, _ in group.value.remove(member) }
  }

  /// Sends a frame to all members that have the track and have begun, or begin with it.
  public func send(_ frame: PacketizedFrame, track: Track) {
    for group in groups.withLock({ Array($0.values) }) {
      group.loop.post { state, now in group.members.value.send(frame, track: track, in: state, at: now) }
    }
  }

  /// Sends frames to one member, which has then begun: a running group of pictures from its key frame on, for
  /// a viewer that just connected or lost its reference.
  public func send(_ frames: [PacketizedFrame], track: Track, to member: Member) {
    let group = member.group
    member.handle.loop.post { state, now in
      group.value.send(frames, track: track, to: member, in: state, at: now)
    }
  }

  /// How many members have a connection that has not ended.
  public func memberCount() async -> Int {
    var count = 0
    for group in groups.withLock({ Array($0.values) }) {
      count += await group.loop.run { _, _ in group.members.value.memberCount }
    }
    return count
  }
}

/// The members of a broadcast that live on one loop. Confined to its event loop.
final class BroadcastGroup {
  /// One track of one member.
  private struct Subscription {
    let member: Broadcast.Member
    let driver: PeerDriver
    let transceiver: TransceiverID
    let needsKeyFrame: Bool
    /// Whether everything that the next frame refers to was sent.
    var hasBegun = false
  }

  private var subscriptions: [Broadcast.Track: [Subscription]] = [:]
  private var members: [ObjectIdentifier: Broadcast.Member] = [:]

  var memberCount: Int { members.count }

  func add(_ member: Broadcast.Member) {
    let driver = member.handle.driver.value
    guard !driver.isFinished, members.updateValue(member, forKey: ObjectIdentifier(member)) == nil else {
      return
    }
    for (track, transceiver) in member.subscriptions {
      let subscription = Subscription(
        member: member, driver: driver, transceiver: transceiver.id, needsKeyFrame: transceiver.kind == .video
      )
      subscriptions[track, default: []].append(subscription)
    }
  }

  func removeAll() {
    members = [:]
    subscriptions = [:]
  }

  func remove(_ member: Broadcast.Member) {
    guard members.removeValue(forKey: ObjectIdentifier(member)) != nil else { return }
    for track in member.subscriptions.keys { subscriptions[track]?.removeAll { $0.member === member } }
  }

  func send(_ frame: PacketizedFrame, track: Broadcast.Track, in loop: LoopState, at now: Instant) {
    guard let index = subscriptions.index(forKey: track) else { return }
    var ended: [Broadcast.Member] = []
    for position in subscriptions.values[index].indices {
      let subscription = subscriptions.values[index][position]
      if subscription.driver.isFinished { ended.append(subscription.member) }
      guard subscription.hasBegun || frame.isKeyFrame || !subscription.needsKeyFrame else { continue }
      let isSent = subscription.driver.send(frame, on: subscription.transceiver, at: now)
      subscriptions.values[index][position].hasBegun = isSent
      if isSent { loop.markDirty(subscription.driver) }
    }
    for member in ended { remove(member) }
  }

  func send(
    _ frames: [PacketizedFrame], track: Broadcast.Track, to member: Broadcast.Member, in loop: LoopState,
    at now: Instant
  ) {
    guard let position = subscriptions[track]?.firstIndex(where: { $0.member === member }),
      let subscription = subscriptions[track]?[position]
    else { return }
    var isSent = false
    for frame in frames {
      isSent = subscription.driver.send(frame, on: subscription.transceiver, at: now)
      guard isSent else { break }
    }
    guard isSent else { return }
    subscriptions[track]?[position].hasBegun = true
    loop.markDirty(subscription.driver)
  }
}
