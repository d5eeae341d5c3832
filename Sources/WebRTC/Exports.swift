// SPDX-License-Identifier: Apache-2.0

// What users of this module name without importing the modules below it.

@_exported public import enum ICE.ICEConnectionState
@_exported public import struct RTP.MediaFrame
@_exported public import class RTP.PacketizedFrame
@_exported public import enum SDP.MediaDirection
@_exported public import enum SDP.MediaKind
@_exported public import struct SansIO.IPAddress
@_exported public import struct SansIO.Instant
@_exported public import struct SansIO.TransportAddress
@_exported public import struct WebRTCCore.ICECandidateInit
@_exported public import enum WebRTCCore.ICEGatheringState
@_exported public import struct WebRTCCore.NegotiatedMedia
@_exported public import enum WebRTCCore.PeerConnectionError
@_exported public import enum WebRTCCore.PeerConnectionState
@_exported public import struct WebRTCCore.RTPCodec
@_exported public import enum WebRTCCore.SDPType
@_exported public import struct WebRTCCore.SessionDescriptionInit
@_exported public import enum WebRTCCore.SignalingState
@_exported public import struct WebRTCCore.StatisticsReport
@_exported public import struct WebRTCCore.TransceiverID
@_exported public import struct WebRTCCore.TransceiverInit

#if DataChannels
  @_exported public import enum SCTP.DataChannelError
  @_exported public import struct SCTP.DataChannelMessage
  @_exported public import struct SCTP.DataChannelParameters
  @_exported public import enum SCTP.DataChannelState
  @_exported public import struct SCTP.DataChannelStatistics
  @_exported public import struct SCTP.StreamID
#endif
