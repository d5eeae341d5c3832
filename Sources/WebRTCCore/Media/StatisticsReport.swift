// SPDX-License-Identifier: Apache-2.0

public import ICE
public import SDP

/// A snapshot of a connection's statistics with the member names of W3C webrtc-stats.
public struct StatisticsReport: Sendable {
  /// When it was taken, milliseconds on the connection's own clock.
  public var timestamp: Double
  /// The streams that we send, one for each sending transceiver.
  public var outboundRTP: [OutboundRTPStreamStatistics] = []
  /// The streams that we receive.
  public var inboundRTP: [InboundRTPStreamStatistics] = []
  /// The transport that carries them all (BUNDLE).
  public var transport: TransportStatistics
  /// The connection's own counts.
  public var peerConnection = PeerConnectionStatistics()
  /// The data channels that are not closed.
  public var dataChannels: [DataChannelReport] = []
  /// The association that carries them; `nil` before there is one.
  public var sctpTransport: SCTPTransportStatistics?
  /// Candidates and candidate pairs.
  public var ice: ICEAgentStatistics
}

/// RTCOutboundRtpStreamStats and what the peer reports of the stream (RTCRemoteInboundRtpStreamStats).
public struct OutboundRTPStreamStatistics: Sendable {
  /// Audio or video.
  public var kind: MediaKind
  /// The m-line's identifier.
  public var mid: String
  /// The synchronization source.
  public var ssrc: UInt32
  /// The synchronization source of retransmissions, when RTX was agreed on.
  public var rtxSsrc: UInt32?
  /// The codec's MIME type.
  public var mimeType: String
  /// RTP packets sent, retransmissions not counted.
  public var packetsSent: UInt64
  /// Payload bytes sent, retransmissions not counted.
  public var bytesSent: UInt64
  /// Header bytes sent.
  public var headerBytesSent: UInt64
  /// Whole frames sent.
  public var framesSent: UInt64
  /// Key frames sent.
  public var keyFramesEncoded: UInt64
  /// Frames that a full queue cost.
  public var framesDropped: UInt64
  /// Packets sent again.
  public var retransmittedPacketsSent: UInt64
  /// Payload bytes sent again.
  public var retransmittedBytesSent: UInt64
  /// Generic NACKs received.
  public var nackCount: UInt64
  /// Picture loss indications received.
  public var pliCount: UInt64
  /// Full intra requests received.
  public var firCount: UInt64
  /// The share of packets that the peer missed lately, 0 to 1; `nil` before its first report.
  public var fractionLost: Double?
  /// Packets that the peer misses in all; negative when it saw duplicates.
  public var packetsLost: Int64?
  /// The peer's interarrival jitter in seconds.
  public var jitter: Double?
  /// The round trip by the peer's last report, in seconds.
  public var roundTripTime: Double?
}

/// RTCInboundRtpStreamStats.
public struct InboundRTPStreamStatistics: Sendable {
  /// Audio or video.
  public var kind: MediaKind
  /// The m-line's identifier.
  public var mid: String
  /// The synchronization source.
  public var ssrc: UInt32
  /// The codec's MIME type.
  public var mimeType: String
  /// RTP packets received, retransmissions included once each.
  public var packetsReceived: UInt64
  /// Payload bytes received.
  public var bytesReceived: UInt64
  /// Packets that are missing for good or still.
  public var packetsLost: Int64
  /// Interarrival jitter in seconds.
  public var jitter: Double
  /// Whole frames handed out.
  public var framesReceived: UInt64
  /// Key frames handed out.
  public var keyFramesReceived: UInt64
  /// Generic NACKs sent.
  public var nackCount: UInt64
  /// Picture loss indications sent.
  public var pliCount: UInt64
  /// Packets that arrived as retransmissions.
  public var retransmittedPacketsReceived: UInt64
}

/// RTCPeerConnectionStats.
public struct PeerConnectionStatistics: Sendable {
  /// Data channels that were ever open.
  public var dataChannelsOpened: UInt64 = 0
  /// Data channels that were open and are closed.
  public var dataChannelsClosed: UInt64 = 0
}

/// RTCDataChannelStats.
public struct DataChannelReport: Sendable {
  /// The channel's name.
  public var label: String
  /// The protocol that its applications speak.
  public var `protocol`: String
  /// The stream that it uses; `nil` before it is known.
  public var dataChannelIdentifier: UInt16?
  /// `connecting`, `open` or `closing`.
  public var state: String
  /// Messages handed in.
  public var messagesSent: UInt64
  /// Payload bytes handed in.
  public var bytesSent: UInt64
  /// Messages that arrived.
  public var messagesReceived: UInt64
  /// Their payload bytes.
  public var bytesReceived: UInt64
}

/// RTCSctpTransportStats, and what was dropped.
public struct SCTPTransportStatistics: Sendable {
  /// The smoothed round-trip time in seconds; `nil` before it was measured.
  public var smoothedRoundTripTime: Double?
  /// Bytes that may be in flight.
  public var congestionWindow: UInt64
  /// Bytes that the peer's window leaves.
  public var receiverWindow: UInt64
  /// Bytes of a packet.
  public var mtu: UInt64
  /// Chunks of data that were sent and not acknowledged.
  public var unackData: UInt64
  /// Chunks that were sent again.
  public var retransmittedChunksSent: UInt64
  /// What was dropped, by cause, causes that were never seen left out.
  public var drops: [String: UInt64] = [:]
}

/// RTCTransportStats.
public struct TransportStatistics: Sendable {
  /// Datagrams sent, all protocols together.
  public var packetsSent: UInt64 = 0
  /// Bytes sent in them.
  public var bytesSent: UInt64 = 0
  /// Datagrams received.
  public var packetsReceived: UInt64 = 0
  /// Bytes received in them.
  public var bytesReceived: UInt64 = 0
  /// `new`, `connecting`, `connected`, `closed` or `failed`.
  public var dtlsState: String = "new"
  /// Four hexadecimal digits, `FEFD` for DTLS 1.2.
  public var tlsVersion: String?
  /// The name of the DTLS cipher suite.
  public var dtlsCipher: String?
  /// The name of the SRTP protection profile.
  public var srtpCipher: String?
  /// `client` or `server`.
  public var dtlsRole: String?
  /// The ICE connection state.
  public var iceState: ICEConnectionState = .new
  /// `controlling` or `controlled`.
  public var iceRole: String = "controlled"
  /// Our ICE user fragment in the session that stands; a restart changes it.
  public var iceLocalUsernameFragment: String = ""
  /// How often another candidate pair was selected, the first one counted.
  public var selectedCandidatePairChanges: UInt64 = 0
  /// What was dropped, by cause, causes that were never seen left out.
  public var drops: [String: UInt64] = [:]
}
