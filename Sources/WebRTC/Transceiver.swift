// SPDX-License-Identifier: Apache-2.0

public import RTP
public import SDP
import Synchronization
public import WebRTCCore

/// One sender and one receiver of audio or video in a connection (W3C WebRTC §5.4, RTCRtpTransceiver).
///
/// Made by ``PeerConnection/addTransceiver(_:_:)``, or by the peer's description
/// (``PeerConnectionEvent/transceiverAdded(_:)``).
public final class Transceiver: Sendable {
  /// Received frames that may wait to be read: two seconds of pictures. Beyond it the oldest are dropped.
  public static let framesBufferedMax = 64

  /// Its name within the connection.
  public let id: TransceiverID
  /// Audio or video.
  public let kind: MediaKind
  /// The frames that the peer sends, whole and in order; for one reader. It ends with the connection.
  public let frames: AsyncStream<MediaFrame>
  /// The peer asks for a key frame (PLI or FIR); several requests that were not read yet are one. For one
  /// reader.
  public let keyFrameRequests: AsyncStream<Void>

  private let frameSink: AsyncStream<MediaFrame>.Continuation
  private let keyFrameRequestSink: AsyncStream<Void>.Continuation
  private let droppedFrames = Atomic<UInt64>(0)
  let handle: ConnectionHandle

  init(id: TransceiverID, kind: MediaKind, of handle: ConnectionHandle) {
    self.id = id
    self.kind = kind
    self.handle = handle
    (frames, frameSink) = AsyncStream.makeStream(
      of: MediaFrame.self, bufferingPolicy: .bufferingNewest(Self.framesBufferedMax))
    (keyFrameRequests, keyFrameRequestSink) = AsyncStream.makeStream(
      of: Void.self, bufferingPolicy: .bufferingNewest(1))
  }

  /// How many received frames were dropped because nobody read ``frames`` in time.
  public var droppedFrameCount: UInt64 { droppedFrames.load(ordering: .relaxed) }

  /// Sends a frame to this peer alone; for many peers use a ``Broadcast``.
  ///
  /// Before the connection stands, frames are dropped. Never waits.
  public func send(_ frame: PacketizedFrame) {
    let id = id
    handle.post { driver, now in _ = driver.send(frame, on: id, at: now) }
  }

  /// Asks the peer for a key frame (RFC 4585 §6.3.1).
  public func requestKeyFrame() {
    let id = id
    handle.post { driver, now in driver.core.requestKeyFrame(id, at: now) }
  }

  /// What offer and answer agreed on for it: mid, direction, codecs; `nil` before the first exchange.
  ///
  /// - Throws: ``PeerConnectionError/closed``.
  public func negotiatedMedia() async throws(PeerConnectionError) -> NegotiatedMedia? {
    let id = id
    return try await handle.perform { driver, _ in driver.core.negotiatedMedia(of: id) }
  }

  // MARK: For the driver

  func deliver(_ frame: MediaFrame) {
    if case .dropped = frameSink.yield(frame) { droppedFrames.add(1, ordering: .relaxed) }
  }

  func deliverKeyFrameRequest() { keyFrameRequestSink.yield() }

  func finish() {
    frameSink.finish()
    keyFrameRequestSink.finish()
  }
}
