// Plays live HLS with fragmented MP4 through MediaSource: our own, because all we serve is what we package.
//
// Segments are appended in `sequence` mode: their times are laid one after another, so that a restart of the encoder
// is neither a gap nor a jump. A segment of another init section gets that section first.

const EDGE = 2; // segments behind the newest one that playing begins at: less, and every hiccup shows
const KEEP = 20; // seconds of what was played that are kept
const RETRY = 1000; // milliseconds until a playlist that is not there is asked for again

export function parsePlaylist(text, base) {
  const playlist = { target: 2, ended: false, segments: [] };
  let sequence = 0;
  let init = null;
  let duration = 0;
  for (const line of text.split(/\r?\n/)) {
    if (line.startsWith("#EXT-X-TARGETDURATION:")) playlist.target = Number(line.split(":")[1]);
    else if (line.startsWith("#EXT-X-MEDIA-SEQUENCE:")) sequence = Number(line.split(":")[1]);
    else if (line.startsWith("#EXT-X-ENDLIST")) playlist.ended = true;
    else if (line.startsWith("#EXT-X-MAP:")) init = new URL(/URI="([^"]+)"/.exec(line)[1], base).href;
    else if (line.startsWith("#EXTINF:")) duration = parseFloat(line.slice(8));
    else if (line && !line.startsWith("#")) {
      playlist.segments.push({ sequence: sequence++, url: new URL(line, base).href, duration, init });
    }
  }
  return playlist;
}

// The codecs, from an init section: avcC holds profile, constraints and level; mp4a means AAC-LC.
export function codecsOf(init) {
  const bytes = new Uint8Array(init);
  const at = (name) => {
    const code = [...name].map((c) => c.charCodeAt(0));
    for (let i = 0; i + 8 < bytes.length; i++) if (code.every((c, n) => bytes[i + n] === c)) return i;
    return -1;
  };
  const codecs = [];
  const avc = at("avcC");
  if (avc >= 0) {
    const hex = [...bytes.slice(avc + 5, avc + 8)].map((b) => b.toString(16).padStart(2, "0")).join("");
    codecs.push(`avc1.${hex}`);
  }
  if (at("mp4a") >= 0) codecs.push("mp4a.40.2");
  return codecs;
}

class Player {
  constructor(video, say) {
    this.video = video;
    this.say = say;
    this.playlistUrl = new URL(video.dataset.playlist, location.href).href;
  }

  async run() {
    for (;;) {
      try {
        await this.session();
      } catch (error) {
        this.say(`waiting for the stream (${error.message})`);
      }
      await pause(RETRY);
    }
  }

  async session() {
    const source = new MediaSource();
    this.video.src = URL.createObjectURL(source);
    await once(source, "sourceopen");
    URL.revokeObjectURL(this.video.src);
    let buffer = null;
    let init = null;
    let next = -1;
    for (;;) {
      const playlist = parsePlaylist(await (await get(this.playlistUrl)).text(), this.playlistUrl);
      const all = playlist.segments;
      if (!all.length) throw new Error("nothing in the playlist");
      const first = all[0].sequence;
      const last = all[all.length - 1].sequence;
      // Numbers that went back mean a new beginning; ones that ran away mean we slept.
      if (next < first || next > last + 1) next = Math.max(first, last - EDGE + 1);
      for (const segment of all.filter((s) => s.sequence >= next)) {
        if (segment.init !== init) {
          const bytes = await (await get(segment.init)).arrayBuffer();
          const type = `video/mp4; codecs="${codecsOf(bytes).join(", ")}"`;
          if (!buffer) {
            buffer = source.addSourceBuffer(type);
            buffer.mode = "sequence";
          } else {
            buffer.changeType(type);
          }
          await append(buffer, bytes);
          init = segment.init;
        }
        await append(buffer, await (await get(segment.url)).arrayBuffer());
        next = segment.sequence + 1;
        if (this.video.error) throw new Error(this.video.error.message);
        await this.steer(buffer, playlist.target);
      }
      if (playlist.ended) throw new Error("it has ended");
      await pause(Math.max(250, (playlist.target * 1000) / 3));
    }
  }

  // Stay near the live edge, step over what could not be had, and let go of what was played.
  async steer(buffer, target) {
    const { video } = this;
    const ranges = buffer.buffered;
    if (!ranges.length) return;
    const end = ranges.end(ranges.length - 1);
    const start = ranges.start(ranges.length - 1);
    const behind = end - video.currentTime;
    if (video.currentTime < start || behind > 4 * target + 6) video.currentTime = Math.max(start, end - 1.5 * target);
    video.playbackRate = behind > 3 * target + 1 ? 1.05 : 1;
    if (video.paused && !video.dataset.paused) await video.play().catch(() => {});
    if (video.currentTime - ranges.start(0) > 2 * KEEP) {
      buffer.remove(0, video.currentTime - KEEP);
      await once(buffer, "updateend");
    }
    this.say("");
  }
}

async function get(url) {
  const response = await fetch(url, { cache: "no-cache" });
  if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
  return response;
}

async function append(buffer, bytes) {
  buffer.appendBuffer(bytes);
  await once(buffer, "updateend");
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const once = (target, event) => new Promise((resolve) => target.addEventListener(event, resolve, { once: true }));

const video = document.querySelector("video[data-playlist]");
if (video) {
  const state = document.querySelector(".state");
  const figures = document.querySelector(".figures");
  const say = (text) => {
    state.textContent = text;
    state.hidden = !text;
  };
  // A pause that a person asked for is left alone.
  video.addEventListener("pause", () => document.hasFocus() && (video.dataset.paused = "yes"));
  video.addEventListener("play", () => delete video.dataset.paused);
  setInterval(() => {
    const { videoWidth, videoHeight, buffered, currentTime } = video;
    const ahead = buffered.length ? buffered.end(buffered.length - 1) - currentTime : 0;
    figures.textContent = videoWidth ? `${videoWidth}×${videoHeight}, ${ahead.toFixed(1)} s buffered` : "";
  }, 500);
  if ("MediaSource" in window) {
    new Player(video, say).run();
  } else {
    video.src = video.dataset.playlist; // Safari on a phone plays HLS itself
  }
}
