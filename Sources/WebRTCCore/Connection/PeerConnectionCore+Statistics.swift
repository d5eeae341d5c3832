// SPDX-License-Identifier: Apache-2.0

import DTLS
import ICE
import RTP
import SRTP
public import SansIO

extension PeerConnectionCore {
  /// A snapshot of all statistics (W3C webrtc-stats).
  public func statistics(at now: Instant) -> StatisticsReport {
    var report = StatisticsReport(
      timestamp: Double(now.nanoseconds) / 1e6, transport: transportStatistics, ice: ice.statistics)
    report.outboundRTP = media.outboundStatistics
    report.inboundRTP = media.inboundStatistics
    #if DataChannels
      _ = data.withChannels { $0.write(to: &report) }
    #endif
    return report
  }

  private var transportStatistics: TransportStatistics {
    var transport = TransportStatistics()
    transport.packetsSent = traffic.packetsSent
    transport.bytesSent = traffic.bytesSent
    transport.packetsReceived = traffic.packetsReceived
    transport.bytesReceived = traffic.bytesReceived
    transport.dtlsState = dtlsState.rawValue
    transport.iceState = ice.connectionState
    transport.iceRole = ice.role == .controlling ? "controlling" : "controlled"
    transport.iceLocalUsernameFragment = credentials.usernameFragment
    transport.selectedCandidatePairChanges = selectedCandidatePairChanges
    if let info = dtlsInfo {
      transport.tlsVersion = info.version
      transport.dtlsCipher = info.cipherSuite
      transport.dtlsRole = info.role == .client ? "client" : "server"
      transport.srtpCipher = info.srtp.flatMap { SRTPProtectionProfile(rawValue: $0.profile)?.name }
    }
    for (cause, count) in drops.nonZero { transport.drops["\(cause)", default: 0] += count }
    for (cause, count) in media.drops.nonZero { transport.drops["\(cause)", default: 0] += count }
    for (cause, count) in ice.drops.nonZero { transport.drops["ice.\(cause)", default: 0] += count }
    return transport
  }
}

extension MediaTransport {
  var outboundStatistics: [OutboundRTPStreamStatistics] {
    senders.map { sender in
      let counters = sender.counters
      let remote = sender.remoteReport
      return OutboundRTPStreamStatistics(
        kind: sender.kind, mid: sender.mid, ssrc: sender.ssrc.rawValue,
        rtxSsrc: sender.codec.rtxPayloadType == nil ? nil : sender.rtxSSRC.rawValue,
        mimeType: sender.codec.codec.mimeType, packetsSent: counters.packetsSent,
        bytesSent: counters.bytesSent, headerBytesSent: counters.headerBytesSent,
        framesSent: counters.framesSent, keyFramesEncoded: counters.keyFramesSent,
        framesDropped: counters.framesDropped, retransmittedPacketsSent: counters.retransmittedPacketsSent,
        retransmittedBytesSent: counters.retransmittedBytesSent, nackCount: counters.nacksReceived,
        pliCount: counters.plisReceived, firCount: counters.firsReceived, fractionLost: remote?.fractionLost,
        packetsLost: remote?.packetsLost, jitter: remote?.jitterSeconds,
        roundTripTime: remote?.roundTripTime?.inSeconds)
    }
  }

  var inboundStatistics: [InboundRTPStreamStatistics] { receivers.compactMap(\.inboundStatistics) }
}
