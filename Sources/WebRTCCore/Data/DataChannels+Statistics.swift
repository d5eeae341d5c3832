// SPDX-License-Identifier: Apache-2.0

#if DataChannels
  import SCTP
  import SansIO

  extension DataChannels {
    /// Fills in what a report says of data channels.
    func write(to report: inout StatisticsReport) {
      report.peerConnection.dataChannelsOpened = openedCount
      report.peerConnection.dataChannelsClosed = closedCount
      report.dataChannels = channelIDs.compactMap { channelReport(of: $0) }
      guard hasBegun else { return }
      let counters = association.currentStatistics
      var transport = SCTPTransportStatistics(
        smoothedRoundTripTime: counters.smoothedRoundTripTime?.inSeconds,
        congestionWindow: UInt64(clamping: counters.congestionWindow),
        receiverWindow: UInt64(clamping: counters.peerWindow),
        mtu: UInt64(clamping: association.configuration.packetByteCountMax),
        unackData: UInt64(clamping: counters.unacknowledgedChunks),
        retransmittedChunksSent: counters.chunksRetransmitted)
      for (cause, count) in association.drops.nonZero { transport.drops["\(cause)", default: 0] += count }
      for (cause, count) in drops.nonZero { transport.drops["\(cause)", default: 0] += count }
      report.sctpTransport = transport
    }

    private func channelReport(of id: DataChannelID) -> DataChannelReport? {
      guard let parameters = parameters(of: id), let counters = statistics(of: id) else { return nil }
      let state =
        switch state(of: id) {
        case .connecting: "connecting"
        case .open: "open"
        case .closing: "closing"
        case .closed: "closed"
        }
      return DataChannelReport(
        label: parameters.label, protocol: parameters.subprotocol,
        dataChannelIdentifier: stream(of: id)?.rawValue, state: state, messagesSent: counters.messagesSent,
        bytesSent: counters.bytesSent, messagesReceived: counters.messagesReceived,
        bytesReceived: counters.bytesReceived)
    }
  }
#endif
