"""The sources, filters and transitions of OBS for Linux, each with the settings it takes.

From the own answers of OBS 29.0.2, 30.2.3 and 32.2.2 (GetInputKindList, GetInputDefaultSettings,
GetSourceFilterKindList, GetSourceFilterDefaultSettings) and, for keys without a default, the plugins' sources
(obs-studio 29.0.2: plugins/*). Kinds of later versions and of plugins that Debian does not ship are listed without
settings (None): those are for OBS to check.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

Keys = frozenset[str] | None


def _keys(text: str) -> frozenset[str]:
    return frozenset(text.split())


_V4L2 = _keys(
    "device_id input pixelformat standard dv_timing resolution framerate color_range buffering auto_reset "
    "timeout_frames controls"
)
_PULSE = _keys("device_id")
_SLIDES = _keys(
    "files transition slide_time transition_speed loop hide randomize use_custom_size playback_behavior slide_mode"
)
_SLIDES_V2 = _SLIDES - {"loop", "randomize"} | {"playback_mode"}
_SCREEN = _keys("screen show_cursor advanced server cut_top cut_left cut_right cut_bot")
_FFMPEG = _keys(
    "is_local_file local_file looping restart_on_activate buffering_mb input input_format reconnect_delay_sec "
    "hw_decode clear_on_media_end close_when_inactive speed_percent color_range linear_alpha seekable ffmpeg_options"
)

INPUTS: Mapping[str, Keys] = {
    "image_source": _keys("file unload linear_alpha"),
    "color_source": _keys("color width height"),
    "color_source_v2": _keys("color width height"),
    "color_source_v3": _keys("color width height"),
    "slideshow": _SLIDES,
    "slideshow_v2": _SLIDES_V2,
    "alsa_input_capture": _keys("device_id custom_pcm rate"),
    "xshm_input": _SCREEN,
    "xshm_input_v2": _SCREEN,
    "xcomposite_input": _keys(
        "capture_window cut_top cut_left cut_right cut_bot swap_redblue lock_x show_cursor include_border exclude_alpha"
    ),
    "jack_output_capture": _keys("channels startjack"),
    "pulse_input_capture": _PULSE,
    "pulse_output_capture": _PULSE,
    "v4l2_input": _V4L2,
    "ffmpeg_source": _FFMPEG,
    "text_ft2_source": None,
    "text_ft2_source_v2": _keys(
        "text font from_file text_file log_mode log_lines color1 color2 outline drop_shadow antialiasing custom_width "
        "word_wrap"
    ),
    "browser_source": None,
    "vlc_source": None,
    "pipewire-desktop-capture-source": None,
    "pipewire-window-capture-source": None,
    "pipewire-screen-capture-source": None,
    "pipewire-camera-source": None,
    "decklink-input": None,
    "aja_source": None,
    "sndio_output_capture": None,
}

_COLOR = _keys("gamma contrast brightness saturation hue_shift opacity color color_multiply color_add")
_CHROMA = _keys("opacity contrast brightness gamma key_color_type key_color similarity smoothness spill color")
_COLOR_KEY = _keys("opacity contrast brightness gamma key_color_type key_color similarity smoothness color")
_LUMA = _keys("luma_max luma_min luma_max_smooth luma_min_smooth")
_MASK = _keys("type image_path color opacity stretch")
_NOISE = _keys("suppress_level method intensity")
_EXPANDER = _keys("ratio threshold attack_time release_time output_gain detector presets knee_width")

FILTERS: Mapping[str, Keys] = {
    "color_filter": _COLOR,
    "color_filter_v2": _COLOR,
    "clut_filter": _keys("image_path clut_amount passthrough_alpha"),
    "chroma_key_filter": _CHROMA,
    "chroma_key_filter_v2": _CHROMA,
    "color_key_filter": _COLOR_KEY,
    "color_key_filter_v2": _COLOR_KEY,
    "crop_filter": _keys("relative left top right bottom cx cy"),
    "gpu_delay": _keys("delay_ms"),
    "luma_key_filter": _LUMA,
    "luma_key_filter_v2": _LUMA,
    "mask_filter": _MASK,
    "mask_filter_v2": _MASK,
    "scale_filter": _keys("resolution sampling undistort"),
    "scroll_filter": _keys("speed_x speed_y limit_cx cx limit_cy cy loop limit_size"),
    "sharpness_filter": _keys("sharpness"),
    "sharpness_filter_v2": _keys("sharpness"),
    "hdr_tonemap_filter": _keys("transform sdr_white_level_nits hdr_input_maximum_nits hdr_output_maximum_nits"),
    "sdr_on_hdr_filter": None,
    "async_delay_filter": _keys("delay_ms"),
    "gain_filter": _keys("db"),
    "noise_gate_filter": _keys("open_threshold close_threshold attack_time hold_time release_time"),
    "noise_suppress_filter": _NOISE,
    "noise_suppress_filter_v2": _NOISE,
    "compressor_filter": _keys("ratio threshold attack_time release_time output_gain sidechain_source"),
    "limiter_filter": _keys("threshold release_time"),
    "expander_filter": _EXPANDER,
    "upward_compressor_filter": _EXPANDER,
    "basic_eq_filter": _keys("low mid high"),
    "invert_polarity_filter": frozenset(),
    "vst_filter": None,
    "shader_filter": None,
}

AUDIO_FILTERS = _keys(
    "gain_filter noise_gate_filter noise_suppress_filter noise_suppress_filter_v2 compressor_filter limiter_filter "
    "expander_filter upward_compressor_filter basic_eq_filter invert_polarity_filter vst_filter"
)
"""Filters of sound: on a source without sound OBS answers OK and adds nothing."""

SILENT_INPUTS = _keys(
    "image_source color_source color_source_v2 color_source_v3 slideshow slideshow_v2 xshm_input xshm_input_v2 "
    "xcomposite_input v4l2_input text_ft2_source text_ft2_source_v2"
)

VIDEO_FILTERS = frozenset(FILTERS) - AUDIO_FILTERS

SOUND_INPUTS = _keys("alsa_input_capture jack_output_capture pulse_input_capture pulse_output_capture")
"""Inputs without a picture, on which filters of pictures come to nothing."""

TRANSITIONS: Mapping[str, Keys] = {
    "cut_transition": frozenset(),
    "fade_transition": frozenset(),
    "swipe_transition": _keys("direction swipe_in"),
    "slide_transition": _keys("direction"),
    "obs_stinger_transition": _keys(
        "path tp_type transition_point track_matte_enabled track_matte_layout track_matte_path invert_matte hw_decode "
        "audio_monitoring audio_fade_style"
    ),
    "fade_to_color_transition": _keys("color switch_point"),
    "wipe_transition": _keys("luma_image luma_invert luma_softness"),
}


def base_of(kind: str) -> str:
    """A kind without its version: `color_source_v3` is a `color_source`."""
    head, _, tail = kind.rpartition("_v")
    return head if head and tail.isdigit() else kind


def newest(kind: str, kinds: Collection[str]) -> str | None:
    """The newest version of a kind among these: what a plain `color_source` means."""
    found = [k for k in kinds if base_of(k) == base_of(kind)]
    return max(found, key=lambda k: (len(k), k)) if found else None
