// SPDX-License-Identifier: Apache-2.0

internal import SansIO

/// What we bear from a peer, and what we ask of memory ourselves; each with its reason.
public enum SCTPLimits {
  /// Ranges of TSNs above a hole. A full queue on the way drops every second packet for a round trip, which
  /// makes thousands; a SACK names the lowest 280 of them. Whoever makes more is answered as if the packet had
  /// been lost.
  static let gapRangesMax = 4096
  /// Gap blocks count in 16 bits from the cumulative TSN; what lies beyond cannot be acknowledged.
  static let tsnAheadMax: Int64 = 65_535
  /// Chunks in flight, so that the peer can name each in a gap block.
  static let chunksInFlightMax = 32_768
  /// Incomplete pieces of messages. A window of 8 MiB holds 7,200 packets; every second one lost makes 3,600.
  static let runsMax = 4096
  /// Duplicates named in one SACK: they only inform.
  static let duplicatesMax = 16
  /// What a buffered message or piece costs beside its bytes, so that empty ones are not free.
  public static let entryByteCount = 96
  /// Control chunks that wait to be sent; a peer that asks faster than we can answer gets no answer.
  static let controlChunksMax = 16
  /// Whole packets that wait (INIT ACK, ABORT with a foreign tag).
  static let repliesMax = 4
  /// A heartbeat is given back as it came, if it is not longer than this.
  static let heartbeatByteCountMax = 512
  /// Packets in one batch: what segmentation offload takes in a call, within 64 KiB.
  static let batchPacketsMax = 48
  /// The congestion window's end, bytes: 4 times the largest receive window, so that no forged
  /// acknowledgements blow it up.
  static let congestionWindowMax = 32 << 20
  /// A fragment is at least this long unless it ends its message: shorter ones cost more than they carry.
  static let fragmentByteCountMin = 4
  /// Messages of at most this length fit a packet and never wait for others to be complete.
  static let shortByteCount = 1024
  /// What the peer may always have to hold of incomplete messages, bytes, however small its window is.
  static let begunByteCountMin = 65_536
  /// How long a peer may leave us without an answer, from the first timeout on, before it counts as gone: what
  /// the 10 retransmissions of RFC 9260 §16 take with its timeouts of up to 60 s. ICE notices much sooner, and
  /// may yet find another path.
  static let silenceMax = TimeDelta.seconds(300)
  /// How often a handshake begins again because the peer calls its own cookie stale.
  static let staleCookiesMax = 8
  /// A peer has to offer at least this window, bytes (RFC 9260 §3.3.2).
  static let peerWindowMin = 1500
  /// SACK, FORWARD-TSN and RE-CONFIG chunks in one packet: each may mean work in proportion to all that is
  /// under way, and no packet needs more than one of a kind.
  static let costlyChunksMax = 4
  /// From the SHUTDOWN on, or the last data after it: 5 times the longest timeout of RFC 9260 §16
  /// (T5-shutdown-guard, §9.2).
  static let shutdownGuard = TimeDelta.seconds(300)
  /// How long our cookies are good (RFC 9260 §16, Valid.Cookie.Life).
  static let cookieLifetime = TimeDelta.seconds(60)
  /// How long a SACK may wait for a second packet: at most 500 ms (RFC 9260 §6.2). Chosen as TCP does here,
  /// far below any peer's least retransmission timeout.
  static let acknowledgementDelay = TimeDelta.milliseconds(40)
  /// What a tail loss probe waits beside two round trips, for the peer may delay its SACK. Chromium and
  /// usrsctp delay up to 200 ms but acknowledge every second packet at once; a probe too early costs one chunk.
  static let probeDelay = TimeDelta.milliseconds(50)
  /// Between two FORWARD-TSNs at least, also where the round-trip time is too short for the clock: packets are written
  /// until there is nothing left to say.
  static let forwardTSNInterval = TimeDelta.milliseconds(1)
  /// Between heartbeats on an idle association (RFC 9260 §16, HB.interval).
  static let heartbeatInterval = TimeDelta.seconds(30)
  /// How long a stream reset that is "in progress" waits before it asks again.
  static let resetRetryDelay = TimeDelta.milliseconds(100)
  /// How often a stream reset is asked for while the peer talks of other things only, before it counts as
  /// refused: on a path that loses 30 % each way one in 700,000 is unlucky so often. It takes a minute.
  static let resetRequestsMax = 20
  /// How long a peer that did our reset of a stream may take to reset its own side. It sends what it had begun to
  /// send before that; a channel should not be closing for ever because it never does.
  static let peerResetMax = TimeDelta.seconds(30)
  /// Streams named in one reset request, so that it fits a packet.
  static let resetStreamsMax = 256
  /// Events that wait to be polled, messages apart (those are bounded by the window).
  static let eventsMax = 4096
}
