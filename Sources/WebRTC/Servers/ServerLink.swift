// SPDX-License-Identifier: Apache-2.0

import ICE
import NIOCore
import SansIO

/// One connection to a TURN server over one of the four transports (RFC 8656 §2.1, RFC 7350).
///
/// It carries datagrams, or frames of a stream; what is in them it does not know. Nothing is sent to the server
/// before the link reports that it is open, and over TLS and DTLS it reports that only when the server has proved
/// to be who it should be (T38). Confined to the event loop.
protocol ServerLink: AnyObject {
  /// Starts to connect. The delegate learns the outcome, maybe before this returns.
  func open()

  /// Queues datagrams or frames, all of `segmentByteCount` bytes but the last; ``flush()`` sends them.
  ///
  /// - Parameter mayDrop: whether a full queue drops them: right for peers' data, wrong for requests over a
  ///   stream, which nobody repeats.
  func send(_ burst: ByteBuffer, segmentByteCount: Int, mayDrop: Bool, at now: Instant)

  /// Sends what was queued since the last flush.
  func flush()

  /// Sends what was queued and closes. Nothing is reported any more.
  func close()
}

/// What a link tells the driver that opened it.
protocol ServerLinkDelegate: AnyObject {
  /// The server may be spoken to; `address` is ours.
  func link(_ id: ServerConnectionID, openedFrom address: TransportAddress)
  /// It could not be opened, or is gone; a sentence says why. Nothing follows.
  func link(_ id: ServerConnectionID, failedBecause reason: String)
  /// A datagram, or one whole frame of a stream.
  func link(_ id: ServerConnectionID, received frame: RawSpan)
  /// What was there to be read for now has been read.
  func linkReceivedAll(_ id: ServerConnectionID)
  /// Something was dropped.
  func link(_ id: ServerConnectionID, dropped cause: NetworkDropCause)
}

/// What links need to know of the loop that they belong to.
struct ServerLinkEnvironment {
  let eventLoop: any EventLoop
  let trust: ServerTrust
  let proxy: ProxyConfiguration
  /// Broadcast addresses of the host's networks.
  var forbidden: Set<IPAddress> = []
  var sendsOffloaded = true
  /// What the kernel is asked to buffer for each socket and direction.
  var kernelBufferByteCount = 4 << 20
}

extension ServerConnection {
  /// The host's name without the dot that may end it, or its address.
  var host: String {
    guard let hostName else { return server.ip.description }
    return hostName.hasSuffix(".") ? String(hostName.dropLast()) : hostName
  }

  /// Makes the link for this connection's transport.
  func makeLink(in environment: ServerLinkEnvironment, delegate: any ServerLinkDelegate) -> any ServerLink {
    switch transport {
    case .udp: UDPServerLink(self, in: environment, delegate: delegate)
    case .dtls: DTLSServerLink(self, in: environment, delegate: delegate)
    case .tcp, .tls: StreamServerLink(self, in: environment, delegate: delegate)
    }
  }
}

extension IPAddress {
  /// The address as it stands before a port.
  var bracketed: String { family == .ipv4 ? description : "[\(self)]" }
}
