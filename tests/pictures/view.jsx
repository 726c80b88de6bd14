// One board as Grafana's own components draw it: window.BOARD has its rows, panels and frames.
import React from 'react';
import { createRoot } from 'react-dom/client';
import { createTheme, FieldType, getDisplayProcessor, ThemeContext, toDataFrame } from '@grafana/data';
import { BarGauge, BigValue, GlobalStyles, PanelChrome, TimeSeries } from '@grafana/ui';

const theme = createTheme({ colors: { mode: 'light' } });
const COLUMN = 54;
const HEIGHT = 270;
const GAP = 8;

function configOf(panel, index) {
  return {
    unit: panel.unit,
    min: 0,
    max: panel.top ?? undefined,
    color: { mode: 'fixed', fixedColor: theme.visualization.palette[index % theme.visualization.palette.length] },
    thresholds: { mode: 'absolute', steps: [{ value: -Infinity, color: 'green' }] },
    custom: {
      drawStyle: 'line',
      lineWidth: 1,
      fillOpacity: panel.kind === 'stack' ? 60 : 10,
      showPoints: 'never',
      axisPlacement: 'auto',
      scaleDistribution: { type: 'linear' },
      stacking: { mode: panel.kind === 'stack' ? 'normal' : 'none', group: 'A' },
    },
  };
}

function framesOf(panel) {
  return panel.frames.map((one, index) => {
    const config = { ...configOf(panel, panel.kind === 'bars' || panel.kind === 'number' ? 0 : index), displayName: one.name };
    const value = { name: one.name, type: FieldType.number, values: one.values, config, state: { seriesIndex: index } };
    const frame = toDataFrame({ fields: [{ name: 'time', type: FieldType.time, values: one.times, config: {} }, value] });
    for (const field of frame.fields) {
      field.display = getDisplayProcessor({ field, theme });
    }
    return frame;
  });
}

function Lines({ panel, width, height }) {
  const legend = { showLegend: true, displayMode: 'list', placement: 'bottom', calcs: [] };
  const from = window.BOARD.from, to = window.BOARD.to;
  const timeRange = { from: { valueOf: () => from }, to: { valueOf: () => to }, raw: { from: '', to: '' } };
  return (
    <TimeSeries frames={framesOf(panel)} structureRev={1} timeRange={timeRange} timeZone="utc" width={width}
      height={height} legend={legend} options={{ legend, tooltip: { mode: 'none' } }} />
  );
}

function lastOf(frame) {
  const field = frame.fields[1];
  return { ...field.display(field.values[field.values.length - 1]), title: field.config.displayName };
}

function Numbers({ panel, width, height }) {
  const frames = framesOf(panel);
  return frames.map((frame, index) => (
    <BigValue key={index} theme={theme} value={lastOf(frame)} width={width} height={height / frames.length}
      colorMode="value" graphMode="area" textMode="auto" justifyMode="auto"
      sparkline={{ x: frame.fields[0], y: frame.fields[1] }} />
  ));
}

function Bars({ panel, width, height }) {
  const frames = framesOf(panel);
  const top = panel.top ?? Math.max(...frames.map((frame) => frame.fields[1].values[0]), 1e-9);
  const each = Math.min(40, height / frames.length);
  return frames.map((frame, index) => (
    <div key={index} style={{ height: each }}>
      <BarGauge theme={theme} value={lastOf(frame)} field={{ ...configOf(panel, 0), min: 0, max: top }} width={width}
        height={each - 4} orientation="horizontal" displayMode="basic" itemSpacing={4} />
    </div>
  ));
}

const DRAWN = { lines: Lines, stack: Lines, number: Numbers, bars: Bars };

function Panel({ panel }) {
  const Drawn = DRAWN[panel.kind];
  return (
    <div style={{ width: panel.width * COLUMN - GAP }}>
      <PanelChrome title={panel.title} width={panel.width * COLUMN - GAP} height={HEIGHT} padding="md">
        {(width, height) => <Drawn panel={panel} width={width} height={height} />}
      </PanelChrome>
    </div>
  );
}

function Board({ board }) {
  return (
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <div id="board" style={{ width: 24 * COLUMN + 2 * GAP, padding: GAP, background: theme.colors.background.canvas }}>
        <h2>{board.title}</h2>
        {board.rows.map((row) => (
          <section key={row.title}>
            <h4 style={{ margin: '12px 0 6px' }}>{row.title}</h4>
            <div style={{ display: 'flex', flexWrap: 'wrap', gap: GAP }}>
              {row.panels.map((panel) => <Panel key={panel.title} panel={panel} />)}
            </div>
          </section>
        ))}
      </div>
    </ThemeContext.Provider>
  );
}

createRoot(document.getElementById('root')).render(<Board board={window.BOARD} />);
