// SPDX-License-Identifier: Apache-2.0
#include "wire/http_parser.h"

#include <gtest/gtest.h>

namespace gantry::wire {
namespace {

Result<HttpRequest> Request(std::string_view text) {
  HttpHeadParser parser(HttpHeadParser::Kind::kRequest);
  TRY(parser.Feed(text));
  if (!parser.done()) return Internal("unfinished");
  return parser.TakeRequest();
}

Result<HttpResponse> Response(std::string_view text, bool head = false) {
  HttpHeadParser parser(HttpHeadParser::Kind::kResponse);
  if (head) parser.ExpectNoBody();
  TRY(parser.Feed(text));
  if (!parser.done()) return Internal("unfinished");
  return parser.TakeResponse();
}

TEST(HttpParser, RequestWithBody) {
  std::string text =
      "POST /containers/create?name=x HTTP/1.1\r\nHost: docker\r\nContent-Length: 2\r\n"
      "X-Empty:\r\nConnection: keep-alive, Upgrade\r\nupgrade: tcp\r\n\r\n{}";
  HttpHeadParser parser(HttpHeadParser::Kind::kRequest);
  Result<size_t> used = parser.Feed(text);
  ASSERT_TRUE(used.ok()) << used.error().message();
  EXPECT_EQ(*used, text.size() - 2);
  HttpRequest request = parser.TakeRequest();
  EXPECT_EQ(request.method, "POST");
  EXPECT_EQ(request.target, "/containers/create?name=x");
  EXPECT_EQ(request.framing, BodyFraming::kLength);
  EXPECT_EQ(request.content_length, 2u);
  EXPECT_EQ(request.headers.Get("host"), "docker");
  EXPECT_EQ(request.headers.Get("x-empty"), "");
  EXPECT_TRUE(request.WantsUpgrade("TCP"));
  EXPECT_TRUE(request.KeepAlive());
}

TEST(HttpParser, WhatIsNoHttpIsRefusedAtItsFirstByte) {
  for (std::string_view text : {std::string_view("\x16\x03\x01\x02", 4), std::string_view("\0", 1),
                                std::string_view(" GET"), std::string_view("\x80")}) {
    HttpHeadParser parser(HttpHeadParser::Kind::kRequest);
    Result<size_t> used = parser.Feed(text);
    ASSERT_FALSE(used.ok());
    EXPECT_EQ(used.error().kind(), ErrorKind::kInvalidArgument);
  }
}

TEST(HttpParser, OneByteAtATimeAndTwoRequests) {
  std::string one = "\r\nGET /_ping HTTP/1.1\r\nHost: a\r\n\r\n";
  HttpHeadParser parser(HttpHeadParser::Kind::kRequest);
  for (int round = 0; round < 2; ++round) {
    for (char c : one) {
      ASSERT_FALSE(parser.done());
      Result<size_t> used = parser.Feed(std::string_view(&c, 1));
      ASSERT_TRUE(used.ok()) << used.error().message();
      ASSERT_EQ(*used, 1u);
    }
    ASSERT_TRUE(parser.done());
    EXPECT_EQ(parser.TakeRequest().target, "/_ping");
  }
}

TEST(HttpParser, RefusesWhatSmugglersSend) {
  const char* bad[] = {
      "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
      "GET / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
      "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
      "GET / HTTP/1.1\r\n\r\n",
      "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
      "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
      "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
      "GET x HTTP/1.1\r\nHost: a\r\n\r\n",
      "G@T / HTTP/1.1\r\nHost: a\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
      "GET / HTTP/1.1\nHost: a\r\n\r\n",
  };
  for (const char* text : bad) EXPECT_FALSE(Request(text).ok()) << text;
}

TEST(HttpParser, Bounds) {
  std::string text = "GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(kMaxHeadBytes, 'x');
  Result<HttpRequest> long_head = Request(text + "\r\n\r\n");
  ASSERT_FALSE(long_head.ok());
  EXPECT_EQ(long_head.error().kind(), ErrorKind::kResourceExhausted);
  text = "GET / HTTP/1.1\r\nHost: a\r\n";
  for (size_t i = 0; i < kMaxHeaderFields; ++i) text += "A: b\r\n";
  EXPECT_EQ(Request(text + "\r\n").error().kind(), ErrorKind::kResourceExhausted);
}

TEST(HttpParser, AbsoluteTargetAndVersion0) {
  EXPECT_EQ(Request("GET http://h/x?y HTTP/1.1\r\nHost: h\r\n\r\n")->target, "/x?y");
  EXPECT_EQ(Request("GET http://h HTTP/1.1\r\nHost: h\r\n\r\n")->target, "/");
  EXPECT_FALSE(Request("GET / HTTP/1.0\r\n\r\n")->KeepAlive());
}

TEST(HttpParser, ResponseFraming) {
  EXPECT_EQ(Response("HTTP/1.1 200 OK\r\n\r\n")->framing, BodyFraming::kUntilClose);
  EXPECT_EQ(Response("HTTP/1.1 204\r\n\r\n")->framing, BodyFraming::kNone);
  EXPECT_EQ(Response("HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\n")->framing, BodyFraming::kNone);
  EXPECT_EQ(Response("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n")->framing,
            BodyFraming::kChunked);
  Result<HttpResponse> head = Response("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true);
  ASSERT_TRUE(head.ok());
  EXPECT_EQ(head->framing, BodyFraming::kNone);
  EXPECT_EQ(head->content_length, 5u);
  EXPECT_FALSE(Response("HTTP/1.1 20 OK\r\n\r\n").ok());
  EXPECT_FALSE(Response("HTTP/1.1 2000\r\n\r\n").ok());
}

TEST(HttpMessage, FormatRefusesLineBreaks) {
  HttpRequest request;
  request.method = "GET";
  request.target = "/a";
  request.headers.Add("Host", "x");
  EXPECT_EQ(*FormatHead(request), "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
  request.headers.Set("host", "x\r\nEvil: 1");
  EXPECT_FALSE(FormatHead(request).ok());
  request.headers.Erase("HOST");
  request.target = "/a b";
  EXPECT_FALSE(FormatHead(request).ok());
  HttpResponse response;
  response.status = 404;
  EXPECT_EQ(*FormatHead(response), "HTTP/1.1 404 Not Found\r\n\r\n");
}

Result<std::string> Decode(std::string_view text, size_t piece, std::string* rest) {
  ChunkedDecoder decoder;
  std::string body;
  while (!text.empty() && !decoder.done()) {
    std::string_view part = text.substr(0, piece);
    auto step = TRY(decoder.Next(part));
    body.append(step.body);
    text.remove_prefix(step.consumed);
  }
  if (!decoder.done()) return Internal("unfinished");
  *rest = text;
  return body;
}

TEST(HttpChunked, RoundTripInPieces) {
  std::string text;
  AppendChunk("hello ", &text);
  AppendChunk("", &text);
  AppendChunk(std::string(300, 'x'), &text);
  text += "1;ext=\"v\"\r\n!\r\n0\r\nTrailer: 1\r\n\r\nNEXT";
  for (size_t piece : {1, 2, 3, 7, 1000}) {
    std::string rest;
    Result<std::string> body = Decode(text, piece, &rest);
    ASSERT_TRUE(body.ok()) << body.error().message();
    EXPECT_EQ(*body, "hello " + std::string(300, 'x') + "!");
    EXPECT_EQ(rest, "NEXT");
  }
}

TEST(HttpChunked, Refuses) {
  std::string rest;
  for (const char* bad : {"x\r\n", "\r\n", "5\nhello\r\n0\r\n\r\n", "1\r\nab\r\n", "-1\r\n",
                          "0x1\r\n", "1 2\r\n", "11111111111111111\r\n"}) {
    EXPECT_FALSE(Decode(bad, 100, &rest).ok()) << bad;
  }
  EXPECT_FALSE(Decode("1;" + std::string(5000, 'e'), 100, &rest).ok());
}

}  // namespace
}  // namespace gantry::wire
