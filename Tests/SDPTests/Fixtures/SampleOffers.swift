// SPDX-License-Identifier: Apache-2.0

/// Offers in the shapes that today's peers give them: viewers that receive, and have a data section.
enum SampleOffers {
  /// All of them, with their names.
  static let all: [(name: String, text: String)] = [
    ("Chromium", chromium), ("Firefox", firefox), ("aiortc", aiortc), ("GStreamer", gstreamer),
  ]

  /// The lines with CRLF, as they come from the network.
  static func withCRLF(_ text: String) -> String {
    text.split(separator: "\n").map { $0 + "\r\n" }.joined()
  }

  /// Chromium 156: 34 video payload types, candidates behind mDNS names.
  static let chromium = """
    v=0
    o=- 2843825917794311394 2 IN IP4 127.0.0.1
    s=-
    t=0 0
    a=group:BUNDLE 0 1 2
    a=extmap-allow-mixed
    a=msid-semantic: WMS
    m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126
    c=IN IP4 0.0.0.0
    a=rtcp:9 IN IP4 0.0.0.0
    a=candidate:3625793090 1 udp 2113937151 775a3c8f-85cf-49c0-952f-c420e197daaf.local 53316 typ host generation 0 network-cost 999
    a=candidate:3748616946 1 udp 2113942271 6e31a810-087f-40f8-8259-6389da3b137f.local 60681 typ host generation 0 network-cost 999
    a=ice-ufrag:2xZf
    a=ice-pwd:Gif1PVdsi99sVrPIlIJsksjf
    a=ice-options:trickle
    a=fingerprint:sha-256 3B:54:AE:39:A6:41:81:FE:DF:CD:0A:F1:23:F4:8A:52:27:D3:AD:63:23:77:BB:12:EB:C8:0F:02:05:78:74:C9
    a=setup:actpass
    a=mid:0
    a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
    a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time
    a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01
    a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
    a=recvonly
    a=rtcp-mux
    a=rtcp-rsize
    a=rtcp-xr:rcvr-rtt=all
    a=rtpmap:111 opus/48000/2
    a=rtcp-fb:111 transport-cc
    a=fmtp:111 minptime=10;useinbandfec=1
    a=rtpmap:63 red/48000/2
    a=fmtp:63 111/111
    a=rtpmap:9 G722/8000
    a=rtpmap:0 PCMU/8000
    a=rtpmap:8 PCMA/8000
    a=rtpmap:13 CN/8000
    a=rtpmap:110 telephone-event/48000
    a=rtpmap:126 telephone-event/8000
    m=video 9 UDP/TLS/RTP/SAVPF 96 97 98 99 100 101 35 36 37 38 102 103 104 107 108 109 114 115 116 117 39 40 41 42 43 44 45 46 47 48 118 119 120 49
    c=IN IP4 0.0.0.0
    a=rtcp:9 IN IP4 0.0.0.0
    a=candidate:3625793090 1 udp 2113937151 775a3c8f-85cf-49c0-952f-c420e197daaf.local 38382 typ host generation 0 network-cost 999
    a=candidate:3748616946 1 udp 2113942271 6e31a810-087f-40f8-8259-6389da3b137f.local 57725 typ host generation 0 network-cost 999
    a=ice-ufrag:2xZf
    a=ice-pwd:Gif1PVdsi99sVrPIlIJsksjf
    a=ice-options:trickle
    a=fingerprint:sha-256 3B:54:AE:39:A6:41:81:FE:DF:CD:0A:F1:23:F4:8A:52:27:D3:AD:63:23:77:BB:12:EB:C8:0F:02:05:78:74:C9
    a=setup:actpass
    a=mid:1
    a=extmap:14 urn:ietf:params:rtp-hdrext:toffset
    a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time
    a=extmap:13 urn:3gpp:video-orientation
    a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01
    a=extmap:5 http://www.webrtc.org/experiments/rtp-hdrext/playout-delay
    a=extmap:6 http://www.webrtc.org/experiments/rtp-hdrext/video-content-type
    a=extmap:7 http://www.webrtc.org/experiments/rtp-hdrext/video-timing
    a=extmap:8 http://www.webrtc.org/experiments/rtp-hdrext/color-space
    a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
    a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id
    a=extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id
    a=recvonly
    a=rtcp-mux
    a=rtcp-rsize
    a=rtcp-xr:rcvr-rtt=all
    a=rtpmap:96 VP8/90000
    a=rtcp-fb:96 goog-remb
    a=rtcp-fb:96 transport-cc
    a=rtcp-fb:96 ccm fir
    a=rtcp-fb:96 nack
    a=rtcp-fb:96 nack pli
    a=rtpmap:97 rtx/90000
    a=fmtp:97 apt=96
    a=rtpmap:98 VP9/90000
    a=rtcp-fb:98 goog-remb
    a=rtcp-fb:98 transport-cc
    a=rtcp-fb:98 ccm fir
    a=rtcp-fb:98 nack
    a=rtcp-fb:98 nack pli
    a=fmtp:98 profile-id=0
    a=rtpmap:99 rtx/90000
    a=fmtp:99 apt=98
    a=rtpmap:100 VP9/90000
    a=rtcp-fb:100 goog-remb
    a=rtcp-fb:100 transport-cc
    a=rtcp-fb:100 ccm fir
    a=rtcp-fb:100 nack
    a=rtcp-fb:100 nack pli
    a=fmtp:100 profile-id=2
    a=rtpmap:101 rtx/90000
    a=fmtp:101 apt=100
    a=rtpmap:35 VP9/90000
    a=rtcp-fb:35 goog-remb
    a=rtcp-fb:35 transport-cc
    a=rtcp-fb:35 ccm fir
    a=rtcp-fb:35 nack
    a=rtcp-fb:35 nack pli
    a=fmtp:35 profile-id=1
    a=rtpmap:36 rtx/90000
    a=fmtp:36 apt=35
    a=rtpmap:37 VP9/90000
    a=rtcp-fb:37 goog-remb
    a=rtcp-fb:37 transport-cc
    a=rtcp-fb:37 ccm fir
    a=rtcp-fb:37 nack
    a=rtcp-fb:37 nack pli
    a=fmtp:37 profile-id=3
    a=rtpmap:38 rtx/90000
    a=fmtp:38 apt=37
    a=rtpmap:102 H264/90000
    a=rtcp-fb:102 goog-remb
    a=rtcp-fb:102 transport-cc
    a=rtcp-fb:102 ccm fir
    a=rtcp-fb:102 nack
    a=rtcp-fb:102 nack pli
    a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f
    a=rtpmap:103 rtx/90000
    a=fmtp:103 apt=102
    a=rtpmap:104 H264/90000
    a=rtcp-fb:104 goog-remb
    a=rtcp-fb:104 transport-cc
    a=rtcp-fb:104 ccm fir
    a=rtcp-fb:104 nack
    a=rtcp-fb:104 nack pli
    a=fmtp:104 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42001f
    a=rtpmap:107 rtx/90000
    a=fmtp:107 apt=104
    a=rtpmap:108 H264/90000
    a=rtcp-fb:108 goog-remb
    a=rtcp-fb:108 transport-cc
    a=rtcp-fb:108 ccm fir
    a=rtcp-fb:108 nack
    a=rtcp-fb:108 nack pli
    a=fmtp:108 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f
    a=rtpmap:109 rtx/90000
    a=fmtp:109 apt=108
    a=rtpmap:114 H264/90000
    a=rtcp-fb:114 goog-remb
    a=rtcp-fb:114 transport-cc
    a=rtcp-fb:114 ccm fir
    a=rtcp-fb:114 nack
    a=rtcp-fb:114 nack pli
    a=fmtp:114 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42e01f
    a=rtpmap:115 rtx/90000
    a=fmtp:115 apt=114
    a=rtpmap:116 H264/90000
    a=rtcp-fb:116 goog-remb
    a=rtcp-fb:116 transport-cc
    a=rtcp-fb:116 ccm fir
    a=rtcp-fb:116 nack
    a=rtcp-fb:116 nack pli
    a=fmtp:116 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=4d001f
    a=rtpmap:117 rtx/90000
    a=fmtp:117 apt=116
    a=rtpmap:39 H264/90000
    a=rtcp-fb:39 goog-remb
    a=rtcp-fb:39 transport-cc
    a=rtcp-fb:39 ccm fir
    a=rtcp-fb:39 nack
    a=rtcp-fb:39 nack pli
    a=fmtp:39 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=4d001f
    a=rtpmap:40 rtx/90000
    a=fmtp:40 apt=39
    a=rtpmap:41 H264/90000
    a=rtcp-fb:41 goog-remb
    a=rtcp-fb:41 transport-cc
    a=rtcp-fb:41 ccm fir
    a=rtcp-fb:41 nack
    a=rtcp-fb:41 nack pli
    a=fmtp:41 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=f4001f
    a=rtpmap:42 rtx/90000
    a=fmtp:42 apt=41
    a=rtpmap:43 H264/90000
    a=rtcp-fb:43 goog-remb
    a=rtcp-fb:43 transport-cc
    a=rtcp-fb:43 ccm fir
    a=rtcp-fb:43 nack
    a=rtcp-fb:43 nack pli
    a=fmtp:43 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=f4001f
    a=rtpmap:44 rtx/90000
    a=fmtp:44 apt=43
    a=rtpmap:45 AV1/90000
    a=rtcp-fb:45 goog-remb
    a=rtcp-fb:45 transport-cc
    a=rtcp-fb:45 ccm fir
    a=rtcp-fb:45 nack
    a=rtcp-fb:45 nack pli
    a=fmtp:45 level-idx=5;profile=0;tier=0
    a=rtpmap:46 rtx/90000
    a=fmtp:46 apt=45
    a=rtpmap:47 AV1/90000
    a=rtcp-fb:47 goog-remb
    a=rtcp-fb:47 transport-cc
    a=rtcp-fb:47 ccm fir
    a=rtcp-fb:47 nack
    a=rtcp-fb:47 nack pli
    a=fmtp:47 level-idx=5;profile=1;tier=0
    a=rtpmap:48 rtx/90000
    a=fmtp:48 apt=47
    a=rtpmap:118 red/90000
    a=rtpmap:119 rtx/90000
    a=fmtp:119 apt=118
    a=rtpmap:120 ulpfec/90000
    a=rtpmap:49 flexfec-03/90000
    a=rtcp-fb:49 goog-remb
    a=rtcp-fb:49 transport-cc
    a=fmtp:49 repair-window=10000000
    m=application 9 UDP/DTLS/SCTP webrtc-datachannel
    c=IN IP4 0.0.0.0
    a=candidate:3625793090 1 udp 2113937151 775a3c8f-85cf-49c0-952f-c420e197daaf.local 49092 typ host generation 0 network-cost 999
    a=candidate:3748616946 1 udp 2113942271 6e31a810-087f-40f8-8259-6389da3b137f.local 40183 typ host generation 0 network-cost 999
    a=ice-ufrag:2xZf
    a=ice-pwd:Gif1PVdsi99sVrPIlIJsksjf
    a=ice-options:trickle
    a=fingerprint:sha-256 3B:54:AE:39:A6:41:81:FE:DF:CD:0A:F1:23:F4:8A:52:27:D3:AD:63:23:77:BB:12:EB:C8:0F:02:05:78:74:C9
    a=setup:actpass
    a=mid:2
    a=sctp-port:5000
    a=max-message-size:262144
    """

  /// In the shape of Firefox 153 with H.264: one fingerprint for the session, attributes sorted.
  static let firefox = """
    v=0
    o=mozilla...THIS_IS_SDPARTA-153.0 5120913375512370913 0 IN IP4 0.0.0.0
    s=-
    t=0 0
    a=fingerprint:sha-256 7C:5B:0E:41:D9:62:1F:AA:83:17:CE:54:B0:9D:26:F3:48:E1:6A:0C:95:3B:D7:72:1E:84:CF:30:A9:5D:66:0B
    a=group:BUNDLE 0 1 2
    a=ice-options:trickle
    a=msid-semantic:WMS *
    m=audio 9 UDP/TLS/RTP/SAVPF 109 9 0 8 101
    c=IN IP4 0.0.0.0
    a=recvonly
    a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
    a=extmap:2/recvonly urn:ietf:params:rtp-hdrext:csrc-audio-level
    a=extmap:3 urn:ietf:params:rtp-hdrext:sdes:mid
    a=fmtp:109 maxplaybackrate=48000;stereo=1;useinbandfec=1
    a=fmtp:101 0-15
    a=ice-pwd:6f0a5c8e21d94b73a8f1e07c3d52b946
    a=ice-ufrag:c4e81f0a
    a=mid:0
    a=rtcp-mux
    a=rtpmap:109 opus/48000/2
    a=rtpmap:9 G722/8000/1
    a=rtpmap:0 PCMU/8000
    a=rtpmap:8 PCMA/8000
    a=rtpmap:101 telephone-event/8000
    a=setup:actpass
    a=ssrc:1862530718 cname:{5b1c0f3e-8f4d-4b0e-9a57-0f2c6d1e7a34}
    m=video 9 UDP/TLS/RTP/SAVPF 120 124 121 125 126 127 123 122 119
    c=IN IP4 0.0.0.0
    a=recvonly
    a=extmap:3 urn:ietf:params:rtp-hdrext:sdes:mid
    a=extmap:4 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time
    a=extmap:5 urn:ietf:params:rtp-hdrext:toffset
    a=extmap:6/recvonly http://www.webrtc.org/experiments/rtp-hdrext/playout-delay
    a=extmap:7 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01
    a=fmtp:126 profile-level-id=42e01f;level-asymmetry-allowed=1;packetization-mode=1
    a=fmtp:120 max-fs=12288;max-fr=60
    a=fmtp:124 apt=120
    a=fmtp:121 max-fs=12288;max-fr=60
    a=fmtp:125 apt=121
    a=fmtp:127 apt=126
    a=fmtp:119 apt=122
    a=ice-pwd:6f0a5c8e21d94b73a8f1e07c3d52b946
    a=ice-ufrag:c4e81f0a
    a=mid:1
    a=rtcp-fb:120 nack
    a=rtcp-fb:120 nack pli
    a=rtcp-fb:120 ccm fir
    a=rtcp-fb:120 goog-remb
    a=rtcp-fb:120 transport-cc
    a=rtcp-fb:121 nack
    a=rtcp-fb:121 nack pli
    a=rtcp-fb:121 ccm fir
    a=rtcp-fb:121 goog-remb
    a=rtcp-fb:121 transport-cc
    a=rtcp-fb:126 nack
    a=rtcp-fb:126 nack pli
    a=rtcp-fb:126 ccm fir
    a=rtcp-fb:126 goog-remb
    a=rtcp-fb:126 transport-cc
    a=rtcp-mux
    a=rtcp-rsize
    a=rtpmap:120 VP8/90000
    a=rtpmap:124 rtx/90000
    a=rtpmap:121 VP9/90000
    a=rtpmap:125 rtx/90000
    a=rtpmap:126 H264/90000
    a=rtpmap:127 rtx/90000
    a=rtpmap:123 ulpfec/90000
    a=rtpmap:122 red/90000
    a=rtpmap:119 rtx/90000
    a=setup:actpass
    a=ssrc:942173605 cname:{5b1c0f3e-8f4d-4b0e-9a57-0f2c6d1e7a34}
    m=application 9 UDP/DTLS/SCTP webrtc-datachannel
    c=IN IP4 0.0.0.0
    a=sendrecv
    a=ice-pwd:6f0a5c8e21d94b73a8f1e07c3d52b946
    a=ice-ufrag:c4e81f0a
    a=mid:2
    a=setup:actpass
    a=sctp-port:5000
    a=max-message-size:1073741823
    """

  /// aiortc 1.16: three fingerprints, sections not yet bundled, complete candidates.
  static let aiortc = """
    v=0
    o=- 4004348179 4004348179 IN IP4 0.0.0.0
    s=-
    t=0 0
    a=group:BUNDLE 0 1
    a=msid-semantic:WMS *
    m=audio 36866 UDP/TLS/RTP/SAVPF 96 9 0 8
    c=IN IP4 192.0.2.2
    a=recvonly
    a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid
    a=extmap:2 urn:ietf:params:rtp-hdrext:ssrc-audio-level
    a=mid:0
    a=msid:b071c239-b55e-4f65-9829-53265bfd26d3 0b7fe131-addc-40c4-9f07-39e2d8b326a2
    a=rtcp:9 IN IP4 0.0.0.0
    a=rtcp-mux
    a=ssrc:2476896994 cname:58be3cb7-7456-444d-9480-24da80cac338
    a=rtpmap:96 opus/48000/2
    a=rtpmap:9 G722/8000
    a=rtpmap:0 PCMU/8000
    a=rtpmap:8 PCMA/8000
    a=candidate:f957a2332b1715da3b0ef8ba684454eb 1 udp 2130706431 192.0.2.2 36866 typ host
    a=candidate:d0bcf3d9c29a2bc887618212a1623bfa 1 udp 2130706431 fd00::2 51636 typ host
    a=end-of-candidates
    a=ice-ufrag:Rw1a
    a=ice-pwd:ZArH3KjG4VXAlRIctXp9V3
    a=fingerprint:sha-256 DB:7F:7F:EE:A4:88:C7:76:C3:58:21:18:F4:33:A5:D5:20:AE:D7:0C:81:5C:32:C9:64:62:A6:05:0B:9A:4F:8E
    a=fingerprint:sha-384 FD:B6:C0:77:49:77:0E:37:83:0F:E2:BA:13:C2:40:02:AD:EC:26:EA:5A:43:C5:98:76:01:71:F1:F3:F0:BE:1E:D4:E8:B6:80:D9:87:68:30:63:4F:8B:95:16:B5:19:DD
    a=fingerprint:sha-512 08:74:D6:EF:9E:2B:F6:F6:07:A6:9C:92:6A:24:38:3D:B7:BD:66:9F:C2:CE:02:4E:57:C7:42:89:F1:4A:D6:47:4B:34:FA:04:A6:2F:E7:E9:01:6B:3E:96:21:8A:87:92:5B:4D:B6:B5:4A:DC:B2:53:47:89:F0:3C:DA:43:65:9C
    a=setup:actpass
    m=video 45263 UDP/TLS/RTP/SAVPF 97 98 99 100 101 102
    c=IN IP4 192.0.2.2
    a=recvonly
    a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid
    a=extmap:3 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time
    a=mid:1
    a=msid:b071c239-b55e-4f65-9829-53265bfd26d3 ae790007-fcfa-4317-a0bf-f55fbe8906f3
    a=rtcp:9 IN IP4 0.0.0.0
    a=rtcp-mux
    a=ssrc-group:FID 550601341 4259994334
    a=ssrc:550601341 cname:58be3cb7-7456-444d-9480-24da80cac338
    a=ssrc:4259994334 cname:58be3cb7-7456-444d-9480-24da80cac338
    a=rtpmap:97 VP8/90000
    a=rtcp-fb:97 nack
    a=rtcp-fb:97 nack pli
    a=rtcp-fb:97 goog-remb
    a=rtpmap:98 rtx/90000
    a=fmtp:98 apt=97
    a=rtpmap:99 H264/90000
    a=rtcp-fb:99 nack
    a=rtcp-fb:99 nack pli
    a=rtcp-fb:99 goog-remb
    a=fmtp:99 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f
    a=rtpmap:100 rtx/90000
    a=fmtp:100 apt=99
    a=rtpmap:101 H264/90000
    a=rtcp-fb:101 nack
    a=rtcp-fb:101 nack pli
    a=rtcp-fb:101 goog-remb
    a=fmtp:101 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f
    a=rtpmap:102 rtx/90000
    a=fmtp:102 apt=101
    a=candidate:f957a2332b1715da3b0ef8ba684454eb 1 udp 2130706431 192.0.2.2 45263 typ host
    a=candidate:d0bcf3d9c29a2bc887618212a1623bfa 1 udp 2130706431 fd00::2 53468 typ host
    a=end-of-candidates
    a=ice-ufrag:Rw1a
    a=ice-pwd:ZArH3KjG4VXAlRIctXp9V3
    a=fingerprint:sha-256 DB:7F:7F:EE:A4:88:C7:76:C3:58:21:18:F4:33:A5:D5:20:AE:D7:0C:81:5C:32:C9:64:62:A6:05:0B:9A:4F:8E
    a=fingerprint:sha-384 FD:B6:C0:77:49:77:0E:37:83:0F:E2:BA:13:C2:40:02:AD:EC:26:EA:5A:43:C5:98:76:01:71:F1:F3:F0:BE:1E:D4:E8:B6:80:D9:87:68:30:63:4F:8B:95:16:B5:19:DD
    a=fingerprint:sha-512 08:74:D6:EF:9E:2B:F6:F6:07:A6:9C:92:6A:24:38:3D:B7:BD:66:9F:C2:CE:02:4E:57:C7:42:89:F1:4A:D6:47:4B:34:FA:04:A6:2F:E7:E9:01:6B:3E:96:21:8A:87:92:5B:4D:B6:B5:4A:DC:B2:53:47:89:F0:3C:DA:43:65:9C
    a=setup:actpass
    """

  /// In the shape of GStreamer 1.22: bundle-only sections, names in capitals, TCP candidates.
  static let gstreamer = """
    v=0
    o=- 4712205389104512387 0 IN IP4 0.0.0.0
    s=-
    t=0 0
    a=ice-options:trickle
    a=group:BUNDLE audio0 video1 application2
    m=audio 9 UDP/TLS/RTP/SAVPF 96
    c=IN IP4 0.0.0.0
    a=setup:actpass
    a=ice-ufrag:Yq0tB6vW3nXkR9sLm2pHc8dFj5gZa1eT
    a=ice-pwd:u7KxP2bQe9VnJ4mTs6wLzR1cHd8fGy3A
    a=rtcp-mux
    a=rtcp-rsize
    a=sendrecv
    a=rtpmap:96 OPUS/48000/2
    a=rtcp-fb:96 transport-cc
    a=fmtp:96 sprop-stereo=1;sprop-maxcapturerate=48000
    a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01
    a=ssrc:2819441023 msid:user2870342201@host-5b1d3a7e webrtctransceiver0
    a=ssrc:2819441023 cname:user2870342201@host-5b1d3a7e
    a=mid:audio0
    a=fingerprint:sha-256 2E:91:0D:7A:C3:48:F5:16:BB:60:39:DE:84:52:07:AF:E8:1C:75:93:4B:20:6D:FA:31:C9:58:8E:07:B2:64:1D
    a=candidate:1 1 UDP 2015363327 192.0.2.17 42961 typ host
    a=candidate:2 1 TCP 1015021823 192.0.2.17 9 typ host tcptype active
    a=candidate:3 1 TCP 1010827519 192.0.2.17 35477 typ host tcptype passive
    a=candidate:4 1 UDP 2015363583 fe80::5054:ff:fe12:3456 51034 typ host
    m=video 0 UDP/TLS/RTP/SAVPF 97 98
    c=IN IP4 0.0.0.0
    a=setup:actpass
    a=ice-ufrag:Yq0tB6vW3nXkR9sLm2pHc8dFj5gZa1eT
    a=ice-pwd:u7KxP2bQe9VnJ4mTs6wLzR1cHd8fGy3A
    a=bundle-only
    a=rtcp-mux
    a=rtcp-rsize
    a=recvonly
    a=rtpmap:97 H264/90000
    a=rtcp-fb:97 nack pli
    a=rtcp-fb:97 ccm fir
    a=rtcp-fb:97 transport-cc
    a=fmtp:97 packetization-mode=1;profile-level-id=42e01f;level-asymmetry-allowed=1
    a=rtpmap:98 rtx/90000
    a=fmtp:98 apt=97
    a=mid:video1
    a=fingerprint:sha-256 2E:91:0D:7A:C3:48:F5:16:BB:60:39:DE:84:52:07:AF:E8:1C:75:93:4B:20:6D:FA:31:C9:58:8E:07:B2:64:1D
    m=application 0 UDP/DTLS/SCTP webrtc-datachannel
    c=IN IP4 0.0.0.0
    a=setup:actpass
    a=ice-ufrag:Yq0tB6vW3nXkR9sLm2pHc8dFj5gZa1eT
    a=ice-pwd:u7KxP2bQe9VnJ4mTs6wLzR1cHd8fGy3A
    a=bundle-only
    a=mid:application2
    a=sctp-port:5000
    a=fingerprint:sha-256 2E:91:0D:7A:C3:48:F5:16:BB:60:39:DE:84:52:07:AF:E8:1C:75:93:4B:20:6D:FA:31:C9:58:8E:07:B2:64:1D
    """
}
